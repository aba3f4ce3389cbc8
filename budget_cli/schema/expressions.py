"""A JMESPath expression → the value it finds in a record. For what a dotted path cannot say.

JMESPath is a published grammar (jmespath.org) with a library that keeps to it; this adds the few functions that rollout
dumps need. Imported only when a field is given as an expression.
"""

import hashlib
import json
import math
from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath import exceptions, functions

from budget_cli.errors import UsageProblem
from budget_cli.schema.json_values import Invalid, canonical, type_name

DIGEST_BYTES = 16


class Functions(functions.Functions):  # type: ignore[misc]
    """What is added to JMESPath's own functions; the README lists them."""

    @functions.signature({"types": ["array"]})  # type: ignore[untyped-decorator]
    def _func_kept(self, mask: list[Any]) -> int:
        """How many elements of a mask stand for a token: those that are neither 0, false nor -100."""
        return sum(map(_is_kept, mask))

    @functions.signature({"types": ["array"]}, {"types": ["array"]})  # type: ignore[untyped-decorator]
    def _func_masked(self, values: list[Any], mask: list[Any]) -> list[Any]:
        """The values whose place in the mask is kept."""
        if len(values) != len(mask):
            raise Invalid("unequal-lengths", f"{len(values)} values, but {len(mask)} elements in the mask")
        return [value for value, kept in zip(values, mask, strict=True) if _is_kept(kept)]

    @functions.signature({"types": ["array"]}, {"types": ["array"]})  # type: ignore[untyped-decorator]
    def _func_until_kept(self, values: list[Any], mask: list[Any]) -> list[Any]:
        """The values before the first place of the mask that is kept: a prompt's tokens."""
        return values[: next((i for i, element in enumerate(mask) if _is_kept(element)), len(mask))]

    @functions.signature({"types": ["number", "array"]})  # type: ignore[untyped-decorator]
    def _func_total(self, value: Any) -> Any:
        """A number as it is, or the sum of a list of them."""
        if not isinstance(value, list):
            return value
        if not all(map(_is_number, value)):
            raise Invalid("wrong-type", "total: expected a list of numbers, found something else in it")
        return math.fsum(value)

    @functions.signature({"types": ["array"]}, {"types": ["array-number"]})  # type: ignore[untyped-decorator]
    def _func_dot(self, values: list[Any], weights: list[float]) -> float:
        """Σ value·weight: dot([accuracy, format], `[1.0, 0.5]`)."""
        if len(values) != len(weights):
            raise Invalid("unequal-lengths", f"{len(values)} values, but {len(weights)} weights")
        for i, value in enumerate(values):
            if value is None:
                raise Invalid("null", f"value {i + 1} of {len(values)} is null or missing")
            if not _is_number(value):
                raise Invalid(
                    "wrong-type", f"value {i + 1} of {len(values)}: expected a number, found {type_name(value)}"
                )
        return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))

    @functions.signature({"types": ["number"]}, {"types": ["number"]})  # type: ignore[untyped-decorator]
    def _func_minus(self, a: float, b: float) -> float:
        """a − b."""
        return a - b

    @functions.signature({"types": ["string"]}, {"types": ["string"]}, {"types": ["number"]})  # type: ignore[untyped-decorator]
    def _func_stem(self, text: str, separator: str, parts: int) -> str:
        """The text without its last so many parts: stem('a_0_1', '_', `2`) is 'a'."""
        return text.rsplit(separator, int(parts))[0]

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_digest(self, value: Any) -> str | None:
        """16 bytes in hexadecimal that stand for a text or any JSON value; null for null and for a list with one."""
        if value is None or (isinstance(value, list) and None in value):
            return None
        return hashlib.blake2b(canonical(value).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()

    @functions.signature({"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_from_json(self, text: str) -> Any:
        """The value that a text holds as JSON: from_json(metrics).correct."""
        try:
            return json.loads(text)
        except ValueError:
            raise Invalid("wrong-type", "from_json: the text is not JSON") from None

    @functions.signature({"types": ["object"]})  # type: ignore[untyped-decorator]
    def _func_weighted(self, rewards: dict[str, Any]) -> float:
        """Σ score·weight of an object of {score, weight}; what is no such object in it is skipped."""
        total = 0.0
        parts = {name: part for name, part in rewards.items() if isinstance(part, dict)}
        if not parts:
            raise Invalid("missing", "no {score, weight} in it")
        for name, part in parts.items():
            for what, value in (("score", part.get("score")), ("weight", part.get("weight", 1.0))):
                if value is None:
                    raise Invalid("null", f"the {what} of {name} is null or missing")
                if not _is_number(value):
                    raise Invalid("wrong-type", f"the {what} of {name}: expected a number, found {type_name(value)}")
            total += part["score"] * part.get("weight", 1.0)
        return float(total)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_kept(element: Any) -> bool:
    return element not in (0, -100)  # false equals 0


OPTIONS = jmespath.Options(custom_functions=Functions())


@lru_cache(maxsize=64)
def _compiled(text: str) -> Any:
    return jmespath.compile(text)


def require_valid(text: str) -> None:
    """That this is an expression, and calls only functions that there are.

    Raises:
        UsageProblem: it is not.
    """
    try:
        tree = _compiled(text).parsed
    except exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise UsageProblem(f"expression {text!r}: neither a dotted path nor JMESPath: {reason}") from None
    for node in _nodes(tree):
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            known = ", ".join(sorted(Functions.FUNCTION_TABLE))
            raise UsageProblem(f"expression {text!r}: no function is called {node['value']!r}; there are {known}")
        if node["type"] == "function_expression":
            arguments = Functions.FUNCTION_TABLE[node["value"]]["signature"]
            variadic = bool(arguments) and arguments[-1].get("variadic", False)
            if len(node["children"]) != len(arguments) and not variadic:
                takes = f"{len(arguments)} argument{'' if len(arguments) == 1 else 's'}"
                raise UsageProblem(f"expression {text!r}: {node['value']} takes {takes}, not {len(node['children'])}")


@lru_cache(maxsize=64)
def roots(text: str) -> frozenset[str] | None:
    """The record's own keys that the expression looks at; None if it looks at the record as a whole."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        """Whether every way from this node into the record begins with a key."""
        kind, children = node["type"], node.get("children", [])
        if kind == "field":
            names.add(node["value"])
            return True
        if kind == "literal":
            return True
        if kind in ("function_expression", "multi_select_list", "or_expression"):
            return all(map(visit, children))
        if kind in ("subexpression", "index_expression", "projection", "flatten"):
            return visit(children[0])
        return False

    return frozenset(names) if visit(_compiled(text).parsed) else None


def evaluate(text: str, record: Any) -> Any:
    """What the expression finds in the record; None for null and for nothing.

    Raises:
        Bad: the record's types do not fit the expression.
    """
    try:
        return _closure(text)(record)
    except exceptions.JMESPathTypeError as error:
        if error.actual_type == "null":  # a function of what is not there
            return None
        raise Invalid("wrong-type", " ".join(str(error).split())) from None
    except (exceptions.JMESPathError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise Invalid("wrong-type", f"the expression cannot be computed: {' '.join(str(error).split())}") from None


# ---- the tree as functions of Python: what presets use, at a fifth of the time; all else goes to jmespath as it is

Closure = Callable[[Any], Any]
EITHER = ("or_expression", "and_expression")
PLAIN: dict[str, tuple[type, ...]] = {"array": (list,), "string": (str,), "number": (int, float), "object": (dict,)}


@lru_cache(maxsize=64)
def _closure(text: str) -> Closure:
    compiled = _compiled(text)
    return _closure_of(compiled.parsed) or (lambda record: compiled.search(record, options=OPTIONS))


def _closure_of(node: Any) -> Closure | None:
    """What the node finds in a value, as jmespath has it; None for a kind of node that is left to jmespath."""
    kind, value = node["type"], node.get("value")
    if kind == "field":
        return lambda record: record.get(value) if isinstance(record, dict) else None
    if kind == "index":
        return lambda found: found[value] if isinstance(found, list) and -len(found) <= value < len(found) else None
    if kind == "literal":
        return lambda record: value
    if kind not in ("subexpression", "index_expression", "multi_select_list", *EITHER, "function_expression"):
        return None
    inner = [_closure_of(child) for child in node["children"]]
    parts = [part for part in inner if part is not None]
    if len(parts) < len(inner):
        return None
    if kind in ("subexpression", "index_expression"):
        return lambda record: reduce(lambda found, part: part(found), parts, record)
    if kind == "multi_select_list":
        return lambda record: None if record is None else [part(record) for part in parts]
    if kind == "or_expression":
        return lambda record: parts[1](record) if _is_false(found := parts[0](record)) else found
    if kind == "and_expression":
        return lambda record: found if _is_false(found := parts[0](record)) else parts[1](record)
    return _call(value, parts) if kind == "function_expression" else None


def _is_false(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _call(name: str, arguments: list[Closure]) -> Closure:
    """A function: called at once where each argument is plainly of its type, else by way of jmespath's own checks."""
    library = OPTIONS.custom_functions
    function, signature = Functions.FUNCTION_TABLE[name]["function"], Functions.FUNCTION_TABLE[name]["signature"]
    known = all(set(one["types"]) <= set(PLAIN) and "variadic" not in one for one in signature)
    types = [frozenset(kind for name in one["types"] for kind in PLAIN[name]) for one in signature] if known else []

    def call(record: Any) -> Any:
        given = [argument(record) for argument in arguments]
        if known and all(not wanted or type(value) in wanted for value, wanted in zip(given, types, strict=True)):
            return function(library, *given)
        return library.call_function(name, given)

    return call


def _nodes(node: Any) -> list[Any]:
    """The tree's nodes."""
    found = [node]
    for child in node.get("children", []):
        found += _nodes(child) if isinstance(child, dict) else []
    return found
