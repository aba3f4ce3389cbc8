"""Fields → the tree of keys and the slots of the compiled reader (`native/reader.c`). Knows no bytes and no values."""

from dataclasses import dataclass, field
from functools import lru_cache

import orjson

from budget_cli.schema.fields import EXTRAS, KINDS, PLURALS, ExtraKind, Fields, Kind
from budget_cli.schema.lookup import root_keys
from budget_cli.schema.paths import Expression, Path, traverses_list

ID, NUMBER, TOKENS, LOG_PROB, NUMBER_ARRAY, TOKENS_ARRAY, SPAN = range(7)  # what a slot takes, as in native/reader.c
SCALAR_KINDS: dict[Kind, int] = {"id": ID, "number": NUMBER, "tokens": TOKENS, "log_prob": LOG_PROB}
LIST_KINDS: dict[Kind, int] = {"number": NUMBER_ARRAY, "tokens": TOKENS_ARRAY, "log_prob": NUMBER_ARRAY}
EXTRA_KINDS: dict[ExtraKind, int] = {"number": NUMBER, "label": ID}  # a text takes Python
MAX_CHILDREN = 64

Node = tuple[bytes, int, int, int, int, int]  # key, each, slot, span, first child, children
Slot = tuple[int, int, int]  # kind, joins, lenient


@dataclass
class ReaderPlan:
    """What the reader is to look for, and where it puts what it finds."""

    nodes: list[Node]
    slots: list[Slot]
    slot_of: dict[str, int]
    expressions: dict[str, Expression]
    extras: list[str]  # those that are computed from parts of the record, like the expressions
    roots: dict[str, int]  # the keys of these parts: the slots of their spans


@dataclass
class TrieNode:
    """A key of the record, and what is below it."""

    each: bool = False
    slot: int = -1
    span: int = -1
    below: dict[str, "TrieNode"] = field(default_factory=dict)

    def place(self, path: Path) -> "TrieNode | None":
        """The node at the path, made if it is not there; None where another path uses one of its keys otherwise."""
        node = self
        for step in path:
            known = step.key in node.below
            node = node.below.setdefault(step.key, TrieNode(each=step.each))
            if known and (node.each != step.each or node.slot >= 0):
                return None
        return None if node.below else node


@lru_cache(maxsize=4)
def plan_for(fields: Fields) -> ReaderPlan | None:
    """How to read these fields; None where the compiled reader cannot."""
    if fields.records or fields.group:
        return None
    tree = TrieNode()
    slots: list[Slot] = []
    slot_of: dict[str, int] = {}
    taken: dict[Path, tuple[int, int]] = {}

    def has_slot(name: str, kind: int, lenient: bool) -> bool:
        """Whether the reader can fill a slot with this field."""
        place = fields.paths[name]
        if isinstance(place, Expression) or (lenient and traverses_list(place)):
            return False
        if place not in taken:
            node = tree.place(place)
            if node is None:
                return False
            node.slot = len(slots)
            taken[place] = (kind, node.slot)
            slots.append((kind, traverses_list(place), lenient))
        kind_there, slot = taken[place]
        if kind_there == kind:
            slot_of[name] = slot
        return kind_there == kind

    expressions: dict[str, Expression] = {}
    for name, kind in KINDS.items():
        place = fields.paths[name]
        if isinstance(place, Expression):
            expressions[name] = place
        elif not has_slot(name, SCALAR_KINDS[kind], lenient=False):
            return None
    if not all(has_slot(many, LIST_KINDS[KINDS[name]], lenient=True) for name, many in PLURALS.items()):
        return None
    extras = []
    for name in fields.extras:
        kind_of_slot = EXTRA_KINDS.get(EXTRAS[name])
        if kind_of_slot is None or not has_slot(name, kind_of_slot, lenient=True):
            extras.append(name)
    roots: dict[str, int] = {}
    for place in (*expressions.values(), *(fields.paths[name] for name in extras)):
        looked_at = root_keys(place)
        if not looked_at:
            return None
        for key in looked_at:
            if key not in roots:
                roots[key] = tree.below.setdefault(key, TrieNode()).span = len(slots)
                slots.append((SPAN, 0, 0))
    nodes = _nodes(tree)
    return None if nodes is None else ReaderPlan(nodes, slots, slot_of, expressions, extras, roots)


def _nodes(tree: TrieNode) -> list[Node] | None:
    """The tree as the reader takes it: the children of each node side by side. None where a key is never written so."""
    nodes: list[Node] = [(b'"', 0, -1, -1, 1, 0)]
    queue = [tree]
    for place, node in enumerate(queue):  # grows while it is read
        if len(node.below) > MAX_CHILDREN:
            return None
        nodes[place] = (*nodes[place][:4], len(nodes), len(node.below))
        for key, child in node.below.items():
            if orjson.dumps(key) != b'"%b"' % key.encode():
                return None
            queue.append(child)
            nodes.append((key.encode() + b'"', int(child.each), child.slot, child.span, 0, 0))
    return nodes
