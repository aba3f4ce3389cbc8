"""Fields → the trie of keys and the slots of the compiled reader (`native/reader.c`). Knows no bytes and no values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import orjson

from budget_cli.native.reader import (
    ID,
    LOG_PROB,
    MAX_CHILDREN,
    MAX_DEPTH,
    NUMBER,
    NUMBER_ARRAY,
    SPAN,
    TOKENS,
    TOKENS_ARRAY,
    TRUTH,
)
from budget_cli.native.unfold import COLUMNS, LISTS, MAX_KEYS, PATH
from budget_cli.records.expression_plan import Operation, Operations
from budget_cli.schema.fields import EXTRAS, KINDS, LINE, PLURALS, ExtraKind, Fields, Kind
from budget_cli.schema.lookup import TABLE, root_keys
from budget_cli.schema.paths import Expression, Path, Place, traverses_list

SCALAR_KINDS: dict[Kind, int] = {"id": ID, "number": NUMBER, "tokens": TOKENS, "log_prob": LOG_PROB}
ARRAY_KINDS: dict[Kind, int] = {"number": NUMBER_ARRAY, "tokens": TOKENS_ARRAY, "log_prob": NUMBER_ARRAY}
EXTRA_KINDS: dict[ExtraKind, int] = {"number": NUMBER, "label": ID, "log_prob": LOG_PROB}  # texts are read in Python

Node = tuple[bytes, int, int, int, int, int]  # key, each, slot, span, first child, children
Slot = tuple[int, int, int, int]  # kind, joins, lenient, keeps


@dataclass(eq=False, repr=False)
class ReaderPlan:
    """The keys that the reader looks for, and the slots for their values."""

    nodes: list[Node]
    slots: list[Slot]
    slot_of: dict[str, int]
    expressions: dict[str, Expression]  # those that are left to Python
    extras: list[str]  # those computed from parts of the record, like the expressions
    computed: list[str]  # the keys of these parts
    judged: list[str]  # the keys of the parts that say whether a sample is left out
    counted: list[str]  # the keys of the text whose tokens may be counted
    roots: dict[str, int]  # all these keys → the slots of their spans
    unfolding: "Unfolding | None"  # how a line becomes one for each of its records; None: it is one
    operations: list[Operation]
    programs: list[tuple[int, int]]  # a slot, and the operation that computes it
    conditions: list[int]  # the slots that say whether each reason to leave a sample out holds; none where `judged`

    @property
    def reads_prompts(self) -> bool:
        """True if each array of a prompt's responses has a slot of its own."""
        return all(plural in self.slot_of for plural in PLURALS.values())


class Unfolding(NamedTuple):
    """The last arguments of `native.unfold`: the form of a line, and the keys that are looked for."""

    form: int
    read: tuple[bytes, ...]
    sizing: int  # the first of `read`, of which a list says how many records there are
    path: tuple[bytes, ...]
    around: tuple[bytes, ...]  # the keys of the line below `_line`
    line_key: int  # the place of `_line` in `read`, or -1


@dataclass(eq=False, repr=False)
class TrieNode:
    """A key of the record, and the keys below it."""

    each: bool = False
    slot: int = -1
    span: int = -1
    below: dict[str, "TrieNode"] = field(default_factory=dict)

    def insert(self, path: Path) -> "TrieNode | None":
        """Return the node at the path, adding what is missing; None if another path uses one of its keys otherwise."""
        if len(path) > MAX_DEPTH:
            return None
        node = self
        for step in path:
            known = step.key in node.below
            node = node.below.setdefault(step.key, TrieNode(each=step.each))
            if known and (node.each != step.each or node.slot >= 0):
                return None
        return None if node.below else node


@lru_cache(maxsize=4)
def plan_for(fields: Fields) -> ReaderPlan | None:
    """Plan how to read these fields; None if the compiled reader cannot."""
    trie = TrieNode()
    slots: list[Slot] = []
    slot_of: dict[str, int] = {}
    by_path: dict[Path, tuple[int, int]] = {}  # kind and number of its slot

    def has_slot(name: str, kind: int, lenient: bool) -> bool:
        """True if a slot can hold this field."""
        place = fields.paths[name]
        if isinstance(place, Expression) or (lenient and traverses_list(place)):
            return False
        if place not in by_path:
            node = trie.insert(place)
            if node is None:
                return False
            node.slot = len(slots)
            by_path[place] = (kind, node.slot)
            slots.append((kind, traverses_list(place), lenient, fields.compares_tokens and kind == LOG_PROB))
        slot_kind, slot = by_path[place]
        if slot_kind == kind:
            slot_of[name] = slot
        return slot_kind == kind

    expressions: dict[str, Expression] = {}
    for name, kind in KINDS.items():
        place = fields.paths[name]
        if name == "prompt_id" and fields.group:
            continue  # each line is a prompt, or all are
        if isinstance(place, Expression):
            expressions[name] = place
        elif not has_slot(name, SCALAR_KINDS[kind], lenient=False):
            return None
    for name, plural in PLURALS.items():
        if fields.paths[plural] in by_path and (plural != "rewards" or fields.paths[plural] == fields.paths[name]):
            continue  # `log_prob` under the name `log_probs`, say: a record with an array of rewards is deferred
        if not has_slot(plural, ARRAY_KINDS[KINDS[name]], lenient=True):
            return None
    extras = []
    for name in fields.extras:
        slot_kind = EXTRA_KINDS.get(EXTRAS[name])
        if slot_kind is None or not has_slot(name, slot_kind, lenient=True):
            extras.append(name)
    roots: dict[str, int] = {}

    def span_of(key: str) -> int:
        if key not in roots:
            roots[key] = trie.below.setdefault(key, TrieNode()).span = len(slots)
            slots.append((SPAN, 0, 0, 0))
        return roots[key]

    operations = Operations(span_of)
    programs: list[tuple[int, int]] = []

    def has_program(name: str, kind: int, lenient: bool) -> bool:
        """True if operations of the reader compute this field."""
        place = fields.paths[name]
        found = operations.compile_place(place) if isinstance(place, Expression) else None
        if found is None:
            return False
        slot_of[name] = len(slots)
        programs.append((len(slots), found))
        slots.append((kind, 0, lenient, fields.compares_tokens and kind == LOG_PROB))
        return True

    for name in [*expressions]:
        # an empty list of log-probs is none, where none are needed
        lenient = KINDS[name] == "log_prob" and not fields.needs_log_probs
        if has_program(name, SCALAR_KINDS[KINDS[name]], lenient):
            del expressions[name]
    extras = [
        name
        for name in extras
        if name == "by" or EXTRAS[name] not in EXTRA_KINDS or not has_program(name, EXTRA_KINDS[EXTRAS[name]], True)
    ]
    conditions: list[int] = []
    for _, place in fields.leave_out:
        found = operations.compile_place(place)
        if found is None:
            conditions.clear()
            break
        conditions.append(len(slots))
        programs.append((len(slots), found))
        slots.append((TRUTH, 0, 0, 0))
    computed = _root_keys([*expressions.values(), *(fields.paths[name] for name in extras)])
    judged = [] if conditions else _root_keys([place for _, place in fields.leave_out])
    counted = _root_keys([fields.paths["response_text"]] if fields.tokenizer is not None else [])
    if computed is None or judged is None or counted is None:
        return None
    for key in dict.fromkeys([*computed, *judged, *counted]):
        span_of(key)
    nodes = _nodes(trie)
    unfolding = _unfolding(fields, list(trie.below)) if fields.records else None
    if nodes is None or (fields.records and unfolding is None):
        return None
    return ReaderPlan(
        nodes,
        slots,
        slot_of,
        expressions,
        extras,
        computed,
        judged,
        counted,
        roots,
        unfolding,
        operations.all,
        programs,
        conditions,
    )


def _unfolding(fields: Fields, read: list[str]) -> Unfolding | None:
    """Plan how lines of several records become lines of one; None if the compiled reader cannot.

    Args:
        fields: the places of fields, and of the records.
        read: the keys of a record that are read.
    """
    path: list[str] = []
    around: list[str] | None = []
    sizing = 0
    if fields.records == "columns":
        form = COLUMNS
        sizes = _root_keys([fields.paths[name] for name in KINDS])
        if sizes is None:
            return None
        sizing, read = len(sizes), list(dict.fromkeys([*sizes, *read]))
    elif fields.records == "[]" and not fields.document:
        form = LISTS
    elif fields.records == TABLE or fields.document or fields.container is not None:
        return None
    else:
        form, place = PATH, fields.records_place
        if isinstance(place, Expression) or not place[-1].each or traverses_list(place[:-1]):
            return None
        path = [step.key for step in place]
        if LINE in read and fields.leave_out:
            around = _keys_below(LINE, fields)
    if around is None or len(read) > MAX_KEYS or not all(map(_is_plain, [*read, *path, *around])):
        return None
    line_key = read.index(LINE) if around else -1
    return Unfolding(form, _written(read), sizing, _written(path), _written(around), line_key)


def _written(keys: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(key.encode() + b'"' for key in keys)


def _keys_below(key: str, fields: Fields) -> list[str] | None:
    """Return the keys that places read below this one; None if they read it in another way."""
    from budget_cli.schema import expressions

    places = [*fields.paths.values(), *(place for _, place in fields.leave_out)]
    found: list[str] = []
    for place in places:
        if not isinstance(place, Expression):
            if place[0].key == key:
                return None
            continue
        below = expressions.keys_below(key, place.text)
        if below is None:
            return None
        found += sorted(below)
    return list(dict.fromkeys(found))


def _is_plain(key: str) -> bool:
    """True if JSON writes the key as it stands."""
    return bool(orjson.dumps(key) == b'"%b"' % key.encode())


def _root_keys(places: Sequence[Place]) -> list[str] | None:
    """Return the keys of the record from which these places start; None if a place does not tell."""
    keys = [list(root_keys(place)) for place in places]
    return list(dict.fromkeys(chain.from_iterable(keys))) if all(keys) else None


def _nodes(trie: TrieNode) -> list[Node] | None:
    """Lay the trie out as the reader takes it, siblings side by side; None if a key is not written as it stands."""
    nodes: list[Node] = [(b'"', 0, -1, -1, 1, 0)]
    queue = [trie]
    for place, node in enumerate(queue):  # grows during the loop
        if len(node.below) > MAX_CHILDREN:
            return None
        nodes[place] = (*nodes[place][:4], len(nodes), len(node.below))
        for key, child in node.below.items():
            if not _is_plain(key):
                return None
            queue.append(child)
            nodes.append((key.encode() + b'"', int(child.each), child.slot, child.span, 0, 0))
    return nodes
