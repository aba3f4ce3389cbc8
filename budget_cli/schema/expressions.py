"""A JMESPath expression → the value it yields for a record, where a dotted path is not enough.

JMESPath is a published grammar (jmespath.org) with a conforming library; this adds the few functions that rollout dumps
need. Imported only when the place of a field is an expression, since importing it takes about 15 ms.
"""

import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from typing import Any, TypeVar

import jmespath
from jmespath import exceptions, functions

from budget_cli.errors import UsageProblem
from budget_cli.schema.json_values import Invalid, canonical, exact_sum, type_name

DIGEST_BYTES = 16
DEEPEST = 200  # levels of a syntax tree; an evaluation takes three calls for each
MOST_GROWTH = 10_000
MOST_CHARACTERS = 1 << 26  # that join may write
SHOWN = 80  # characters of an expression in a message
GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}  # correct, partly, incorrect, no answer: those of inspect_ai

Method = TypeVar("Method", bound=Callable[..., Any])


def _takes(*types: str) -> Callable[[Method], Method]:
    """Declare the JMESPath types of a function's arguments, as in `number|array`; `any` is any type."""
    declare: Callable[[Method], Method] = functions.signature(
        *({"types": [] if argument == "any" else argument.split("|")} for argument in types)
    )
    return declare


class Functions(functions.Functions):  # type: ignore[misc]  # jmespath is untyped, so its class is Any
    """The functions added to those of JMESPath; docs/input.md lists them."""

    @_takes("array")
    def _func_kept(self, mask: list[Any]) -> int:
        """Count the elements of a mask that keep a token: those other than 0, false and -100."""
        _require_flat(mask, "kept")
        return len(mask) - mask.count(0) - mask.count(-100)  # false equals 0

    @_takes("array", "array")
    def _func_masked(self, values: list[Any], mask: list[Any]) -> list[Any]:
        """Return the values that the mask keeps."""
        _require_flat(mask, "masked")
        if len(values) != len(mask):
            raise Invalid("unequal-lengths", f"{len(values)} values, but {len(mask)} elements in the mask")
        return [value for value, kept in zip(values, mask, strict=True) if _is_kept(kept)]

    @_takes("array", "array")
    def _func_until_kept(self, values: list[Any], mask: list[Any]) -> list[Any]:
        """Return the values before the first one that the mask keeps: the tokens of the prompt."""
        _require_flat(mask, "until_kept")
        return values[: next((i for i, element in enumerate(mask) if _is_kept(element)), len(mask))]

    @_takes("number|array")
    def _func_total(self, value: Any) -> Any:
        """Return a number unchanged, or the sum of a list of numbers."""
        if not isinstance(value, list):
            return value
        if not all(map(_is_number, value)):
            raise Invalid("wrong-type", "total: expected a list of numbers, found an element that is not one")
        return exact_sum(value)

    @_takes("array", "array-number")
    def _func_dot(self, values: list[Any], weights: list[float]) -> float:
        """Return Σ value·weight, as in dot([accuracy, format], `[1.0, 0.5]`)."""
        if len(values) != len(weights):
            raise Invalid("unequal-lengths", f"{len(values)} values, but {len(weights)} weights")
        for i, value in enumerate(values):
            if value is None:
                raise Invalid("null", f"value {i + 1} of {len(values)} is null or missing")
            if not _is_number(value):
                raise Invalid(
                    "wrong-type", f"value {i + 1} of {len(values)}: expected a number, found {type_name(value)}"
                )
        return exact_sum(value * weight for value, weight in zip(values, weights, strict=True))

    @_takes("array", "array-number")
    def _func_nandot(self, values: list[Any], weights: list[float]) -> float:
        """Return Σ value·weight over the values that are neither null nor NaN, as TRL sums rewards (torch.nansum)."""
        if len(values) != len(weights):
            raise Invalid("unequal-lengths", f"{len(values)} values, but {len(weights)} weights")
        present = [(i, value) for i, value in enumerate(values) if value is not None and value == value]
        if not present:
            what = "the only value is" if len(values) == 1 else f"all {len(values)} values are"
            raise Invalid("null", f"{what} null or NaN")
        for i, value in present:
            if not _is_number(value):
                hint = "; number(…) counts it" if isinstance(value, bool) else ""
                raise Invalid(
                    "wrong-type", f"value {i + 1} of {len(values)}: expected a number, found {type_name(value)}{hint}"
                )
        return exact_sum(value * weights[i] for i, value in present)

    @_takes("boolean|number|array")
    def _func_number(self, value: Any) -> Any:
        """Return 1 for true, 0 for false and a number unchanged; of a list, the same for each element."""
        if isinstance(value, list):
            return [self._func_number(element) if isinstance(element, (bool, list)) else element for element in value]
        return int(value) if isinstance(value, bool) else value

    @_takes("number", "number")
    def _func_minus(self, a: float, b: float) -> float:
        """Return a − b."""
        return a - b

    @_takes("string", "string", "number")
    def _func_stem(self, text: str, separator: str, parts: int) -> str:
        """Return the text without its last `parts` parts: stem('a_0_1', '_', `2`) is 'a'."""
        return text.rsplit(separator, int(parts))[0]

    @_takes("string", "string", "number")
    def _func_part(self, text: str, separator: str, index: int) -> str | None:
        """Return one part of the text, counted from 0, or from the end by -1: part('a_0_1', '_', `-1`) is '1'."""
        parts = text.split(separator)
        return parts[int(index)] if -len(parts) <= index < len(parts) else None

    @_takes("any")
    def _func_digest(self, value: Any) -> str | None:
        """Return a digest of any JSON value, 16 bytes in hexadecimal; null for null and for a list that holds null."""
        if value is None or (isinstance(value, list) and None in value):
            return None
        return hashlib.blake2b(canonical(value).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()

    @_takes("string", "array-string")
    def _func_join(self, separator: str, parts: list[str]) -> str:
        """Join texts as JMESPath does, within a limit: a long separator times many texts is large."""
        if len(separator) * len(parts) > MOST_CHARACTERS:
            raise Invalid("wrong-value", f"join: more than {MOST_CHARACTERS:,} characters of separators")
        return separator.join(parts)

    @_takes("string")
    def _func_from_json(self, text: str) -> Any:
        """Parse a string that holds JSON, as in from_json(metrics).correct."""
        try:
            value = json.loads(text, parse_int=_integer)
            if "\\u" in text:  # half of a surrogate pair is no text
                json.dumps(value, ensure_ascii=False).encode()
        except ValueError:
            raise Invalid("wrong-type", "from_json: the string is not JSON") from None
        return value

    @_takes("object")
    def _func_graded(self, scores: dict[str, Any]) -> float:
        """Return the value of a score, {value}, or of the only one in {name: {value}}: a number or a grade."""
        if "value" not in scores:
            if len(scores) != 1:
                found = f"found {len(scores)} ({', '.join(scores)})" if scores else "found none"
                raise Invalid("wrong-type", f"expected one score, {found}: choose one, as in graded(scores.NAME)")
            (scores,) = scores.values()
        value = scores.get("value") if isinstance(scores, dict) else None
        grade = GRADES.get(value) if isinstance(value, str) else value
        if grade is None or isinstance(grade, (list, dict)):
            raise Invalid("wrong-type", f"graded: expected a number, a boolean, C, P, I or N, found {type_name(value)}")
        return float(grade)

    @_takes("object")
    def _func_weighted(self, rewards: dict[str, Any]) -> float:
        """Return Σ score·weight over the {score, weight} objects that an object holds; other members are skipped."""
        total = 0.0
        parts = {name: part for name, part in rewards.items() if isinstance(part, dict)}
        if not parts:
            raise Invalid("missing", "expected members like {score, weight}, found none")
        for name, part in parts.items():
            for what, value in (("score", part.get("score")), ("weight", part.get("weight", 1.0))):
                if value is None:
                    raise Invalid("null", f"the {what} of {name} is null or missing")
                if not _is_number(value):
                    raise Invalid("wrong-type", f"the {what} of {name}: expected a number, found {type_name(value)}")
            total += part["score"] * part.get("weight", 1.0)
        return float(total)


def _integer(digits: str) -> int | float:
    """Read an integer as the parser of records does: one that 64 bits cannot hold becomes a double."""
    value = int(digits) if len(digits) <= 20 else None
    return float(digits) if value is None or not -(2**63) <= value < 2**64 else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require_flat(mask: list[Any], function: str) -> None:
    """Refuse a mask whose elements are lists, one for each turn or response: each would count as one token.

    Raises:
        Invalid: it is one.
    """
    if list in set(map(type, mask)):
        raise Invalid(
            "wrong-type",
            f"{function}: the mask is a list of lists; MASK[] joins them, if they are the response's turns",
        )


def _is_kept(element: Any) -> bool:
    return element not in (0, -100)  # false equals 0


OPTIONS = jmespath.Options(custom_functions=Functions())


@lru_cache(maxsize=64)
def _compiled(text: str) -> Any:
    return jmespath.compile(text)


def require_valid(text: str) -> None:
    """Check that the text is a JMESPath expression that calls known functions with the right number of arguments.

    Raises:
        UsageProblem: it is not.
    """
    shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
    try:
        tree = _compiled(text).parsed
    except (exceptions.JMESPathError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(":")[:200]
        raise UsageProblem(f"expression {shown}: neither a dotted path nor JMESPath: {reason}") from None
    except RecursionError:
        raise UsageProblem(f"expression {shown}: nested deeper than {DEEPEST} levels") from None
    nodes = _nodes(tree, shown)
    growth = _growth(tree)
    if growth > MOST_GROWTH:
        limit = f"may make {growth:.3g} times as much as a record holds, and the limit is {MOST_GROWTH:,} times"
        raise UsageProblem(f"expression {shown}: {limit}")
    for node in nodes:
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            known = ", ".join(sorted(Functions.FUNCTION_TABLE))
            raise UsageProblem(f"expression {shown}: unknown function {node['value']!r}; expected one of {known}")
        if node["type"] == "function_expression":
            arguments = Functions.FUNCTION_TABLE[node["value"]]["signature"]
            variadic = bool(arguments) and arguments[-1].get("variadic", False)
            if len(node["children"]) != len(arguments) and not variadic:
                takes = f"{len(arguments)} argument{'' if len(arguments) == 1 else 's'}"
                raise UsageProblem(f"expression {shown}: {node['value']} takes {takes}, not {len(node['children'])}")


def syntax_of(text: str) -> Any:
    """Return the syntax tree of an expression: nodes with `type`, `value` and `children`, as jmespath makes it."""
    return _compiled(text).parsed


@lru_cache(maxsize=64)
def roots(text: str) -> frozenset[str] | None:
    """Return the keys of the record that the expression reads; None if it may read any of them."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        """True if every access from this node to the record starts with a key."""
        kind, children = node["type"], node.get("children", [])
        if kind == "field":
            names.add(node["value"])
            return True
        if kind == "literal":
            return True
        if kind in ("function_expression", "multi_select_list", "comparator", "not_expression", *EITHER):
            return all(map(visit, children))
        if kind in ("subexpression", "index_expression", "projection", "filter_projection", "flatten", "pipe"):
            return visit(children[0])
        return False

    return frozenset(names) if visit(_compiled(text).parsed) else None


@lru_cache(maxsize=64)
def keys_below(key: str, text: str) -> frozenset[str] | None:
    """Return the keys that the expression reads right below a key of the record; None if it reads it otherwise."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        kind, children = node["type"], node.get("children", [])
        if kind == "field":
            return bool(node["value"] != key)
        if kind == "subexpression" and children[0] == {"type": "field", "children": [], "value": key}:
            names.add(children[1].get("value"))
            return bool(children[1]["type"] == "field")
        return all(map(visit, (child for child in children if isinstance(child, dict))))

    return frozenset(names) if visit(_compiled(text).parsed) else None


def evaluate(text: str, record: Any) -> Any:
    """Evaluate the expression on a record; None where the result is null or missing.

    Raises:
        Invalid: the expression cannot be computed from the types in this record.
    """
    return evaluator(text)(record)


@lru_cache(maxsize=64)
def evaluator(text: str) -> "Closure":
    """Return what evaluates the expression on a record, as `evaluate` does."""
    compute = _closure(text)

    def evaluated(record: Any) -> Any:
        try:
            return compute(record)
        except exceptions.JMESPathTypeError as error:
            if error.actual_type == "null":  # an argument is missing from the record
                return None
            raise Invalid("wrong-type", " ".join(str(error).split())) from None
        except (exceptions.JMESPathError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise Invalid("wrong-type", f"the expression cannot be computed: {' '.join(str(error).split())}") from None

    return evaluated


# ---- the syntax tree as Python closures: they take a fifth of the time for what presets use; jmespath does the rest

Closure = Callable[[Any], Any]
EITHER = ("or_expression", "and_expression")
COMPILED = (
    "subexpression",
    "index_expression",
    "multi_select_list",
    "comparator",
    "not_expression",
    "projection",
    "filter_projection",
    "flatten",
    *EITHER,
    "function_expression",
)
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
PLAIN: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "string": (str,),
    "number": (int, float),
    "object": (dict,),
}
ELEMENTS = {"array-number": PLAIN["number"], "array-string": PLAIN["string"]}  # of lists


def _closure(text: str) -> Closure:
    compiled = _compiled(text)
    return _closure_of(compiled.parsed) or (lambda record: compiled.search(record, options=OPTIONS))


def _closure_of(node: Any) -> Closure | None:
    """Compile a node to a closure that computes what jmespath would; None for nodes that are left to jmespath."""
    kind, value = node["type"], node.get("value")
    if kind == "field":
        return lambda record: record.get(value) if isinstance(record, dict) else None
    if kind == "index":
        return lambda found: found[value] if isinstance(found, list) and -len(found) <= value < len(found) else None
    if kind == "literal":
        return lambda record: value
    if kind == "identity":
        return lambda record: record
    if kind not in COMPILED:
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
    if kind == "not_expression":
        return lambda record: _is_false(parts[0](record))
    if kind == "comparator":
        return _comparison(value, *parts)
    if kind == "flatten":
        return lambda record: _flattened(parts[0](record))
    if kind in ("projection", "filter_projection"):
        return _projection(*parts)
    return _call(value, parts) if kind == "function_expression" else None


def _flattened(found: Any) -> list[Any] | None:
    """Return a list with the elements of the lists in it in their place; None for what is no list."""
    if not isinstance(found, list):
        return None
    return [each for one in found for each in (one if isinstance(one, list) else (one,))]


def _projection(base: Closure, part: Closure, condition: Closure | None = None) -> Closure:
    """Compile a projection: what is found in each element of a list that meets the condition, without nulls."""

    def project(record: Any) -> list[Any] | None:
        found = base(record)
        if not isinstance(found, list):
            return None
        if condition is not None:
            found = [one for one in found if not _is_false(condition(one))]
        return [each for one in found if (each := part(one)) is not None]

    return project


def _comparison(name: str, left: Closure, right: Closure) -> Closure:
    """Compile a comparison: true is not 1, and only numbers and strings have an order."""
    if name in ("eq", "ne"):
        wanted = name == "eq"

        def equals(record: Any) -> bool:
            one, other = left(record), right(record)
            return (isinstance(one, bool) is isinstance(other, bool) and one == other) is wanted

        return equals
    order = ORDERS[name]

    def compare(record: Any) -> Any:
        one, other = left(record), right(record)
        return order(one, other) if _has_order(one) and _has_order(other) else None

    return compare


def _has_order(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_false(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _call(name: str, arguments: list[Closure]) -> Closure:
    """Compile a function call, which skips the checks of jmespath if the types of all arguments are plainly right."""
    library = OPTIONS.custom_functions
    function, signature = Functions.FUNCTION_TABLE[name]["function"], Functions.FUNCTION_TABLE[name]["signature"]
    known = all(set(one["types"]) <= {*PLAIN, *ELEMENTS} and "variadic" not in one for one in signature)
    types = [frozenset(kind for name in one["types"] for kind in PLAIN.get(name, ())) for one in signature]
    elements = [frozenset(kind for name in one["types"] for kind in ELEMENTS.get(name, ())) for one in signature]

    def call(record: Any) -> Any:
        given = [argument(record) for argument in arguments]
        if known:
            for value, wanted, inner in zip(given, types, elements, strict=True):
                if type(value) in wanted or not (wanted or inner):
                    continue
                if not inner or type(value) is not list or not inner.issuperset(map(type, value)):
                    break
            else:
                return function(library, *given)
        return library.call_function(name, given)

    return call


def _nodes(tree: Any, shown: str) -> list[Any]:
    """List all nodes of a syntax tree, each after its parent.

    Args:
        tree: the root.
        shown: the expression, for messages.

    Raises:
        UsageProblem: the tree or a literal has more than DEEPEST levels, or a literal holds half of a surrogate pair.
    """
    found, level = [], [tree]
    for _ in range(DEEPEST):
        if not level:
            break
        found += level
        level = [child for node in level for child in node.get("children", []) if isinstance(child, dict)]
    literals = [node["value"] for node in found if node["type"] == "literal"]
    if level or any(map(_is_deep, literals)):
        raise UsageProblem(f"expression {shown}: nested deeper than {DEEPEST} levels")
    for node in found:
        if node["type"] == "literal" and "\\ud" in json.dumps(node["value"]).lower():
            try:
                json.dumps(node["value"], ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise UsageProblem(f"expression {shown}: a literal has half of a \\u surrogate pair") from None
    return found


def _is_deep(value: Any) -> bool:
    """True for JSON of more than DEEPEST levels, which only some versions of Python refuse to parse."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _within(one)]
    return any(isinstance(one, dict | list) for one in level)


def _within(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _growth(node: Any) -> float:
    """Return how many times as large as the record an expression's value may be: a list of k parts, k times."""
    kind, inner = node["type"], [_growth(child) for child in node.get("children", []) if isinstance(child, dict)]
    if kind in ("multi_select_list", "multi_select_dict"):
        return sum(inner, 0.0)
    if kind == "function_expression":
        passes_on = node["value"] == "map"  # map(&part, list)
        return math.prod(inner) if passes_on else max(1.0, sum(inner)) * (2 if node["value"] == "to_string" else 1)
    if kind in ("subexpression", "index_expression", "pipe", "projection", "value_projection"):
        return math.prod(inner)
    if kind == "filter_projection":  # base, part, condition
        return inner[0] * max(inner[1:])
    return max([1.0, *inner])
