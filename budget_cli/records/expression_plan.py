"""A place in a record → the operations of the compiled reader that find its value (`native/evaluate.h`).

A closed set: what is not in it is evaluated in Python. Knows no bytes and no values.
"""

from collections.abc import Callable
from typing import Any

import orjson

from budget_cli.native.reader import MAX_ARGUMENTS, MAX_LEVELS, OPERATIONS
from budget_cli.schema.paths import Expression, Place

Operation = tuple[int, int, int, bytes, tuple[int, ...]]  # which, slot of a span, number, text, parts

NUMBER_OF = {name: number for number, name in enumerate(OPERATIONS)}
COMPARISONS = {
    "eq": "equal",
    "ne": "unequal",
    "lt": "less",
    "lte": "less_equal",
    "gt": "greater",
    "gte": "greater_equal",
}
SAME = {
    "subexpression": "chain",
    "index_expression": "chain",
    "pipe": "chain",
    "multi_select_list": "list_of",
    "or_expression": "or",
    "and_expression": "and",
    "not_expression": "not",
    "projection": "project",
    "filter_projection": "filter",
    "flatten": "flatten",
}
FUNCTIONS = {
    **{name: name for name in OPERATIONS[NUMBER_OF["kept"] :] if name != "number_of"},
    "number": "number_of",
}
IN_ELEMENTS = ("projection", "filter_projection")  # what follows their base is evaluated in each element
ONE_AFTER_ANOTHER = ("subexpression", "index_expression", "pipe")  # each part in the value of the one before


class Unsupported(Exception):
    """The compiled reader has no such operation. Caught by `compile_place`."""


class Operations:
    """The operations of a plan, which grow by those of each place; parts stand before what is made of them."""

    def __init__(self, span_of: Callable[[str], int]) -> None:
        """Begin without any.

        Args:
            span_of: the slot of the span of a key of the record.
        """
        self.all: list[Operation] = []
        self._span_of = span_of

    def compile_place(self, place: Place) -> int | None:
        """Add the operations of a place; return the last, or None if there is no operation for a part of it."""
        before = len(self.all)
        try:
            if not isinstance(place, Expression):
                if any(step.each for step in place):
                    return None
                keys = [{"type": "field", "value": step.key} for step in place]
                return self._add({"type": "subexpression", "children": keys}, True, MAX_LEVELS)
            from budget_cli.schema import expressions  # and jmespath, which only expressions need

            return self._add(expressions.syntax_of(place.text), True, MAX_LEVELS)
        except Unsupported:
            del self.all[before:]
            return None

    def _add(self, node: Any, in_record: bool, levels: int) -> int:
        """Add a node of the syntax tree; `in_record` if it applies to the record, and not to a value in it."""
        kind, value, children = node["type"], node.get("value"), node.get("children", [])
        if not levels or len(children) > MAX_ARGUMENTS:
            raise Unsupported
        if kind == "field":
            if orjson.dumps(value) != b'"%b"' % value.encode():
                raise Unsupported
            if in_record:
                return self._put("root", slot=self._span_of(value))
            return self._put("field", text=value.encode() + b'"')
        if kind == "index" and not in_record:
            return self._put("index", number=value)
        if kind == "identity" and not in_record:
            return self._put("current")
        if kind == "literal":
            try:
                return self._put("literal", text=orjson.dumps(value) + b"\n")
            except orjson.JSONEncodeError:
                raise Unsupported from None
        if kind == "function_expression":
            name = FUNCTIONS.get(value)
        else:
            name = COMPARISONS.get(value) if kind == "comparator" else SAME.get(kind)
        if name is None:
            raise Unsupported
        moves = kind in IN_ELEMENTS or kind in ONE_AFTER_ANOTHER
        parts = [self._add(child, in_record and not (moves and i), levels - 1) for i, child in enumerate(children)]
        return self._put(name, parts=tuple(parts))

    def _put(self, name: str, slot: int = -1, number: int = 0, text: bytes = b"", parts: tuple[int, ...] = ()) -> int:
        self.all.append((NUMBER_OF[name], slot, number, text, parts))
        return len(self.all) - 1
