"""A JSON value and a place → the value found there; a line's value → its records. Knows no bytes."""

from collections.abc import Iterable
from typing import Any, Final

from budget_cli.schema.fields import KINDS, Fields
from budget_cli.schema.json_values import Invalid, type_name
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Expression, Place

MISSING: Final = object()


class NotASample(Exception):
    """The line is no sample; caught where the lines are counted."""


def value_at(record: Any, path: Place) -> Any:
    """The value at the path, a flat list of values if the path goes through `[]`, or MISSING."""
    if isinstance(path, Expression):
        from budget_cli.schema import expressions

        value = expressions.evaluate(path.text, record)
        return MISSING if value is None else value
    for depth, step in enumerate(path):
        if not isinstance(record, dict) or step.key not in record:
            return MISSING
        record = record[step.key]
        if step.each:
            if not isinstance(record, list):
                raise Invalid("wrong-type", f"expected a list, found {type_name(record)}", place_text(path), path)
            rest = path[depth + 1 :]
            for i, element in enumerate(record):
                if rest and not isinstance(element, dict):
                    message = f"element {i}: expected an object, found {type_name(element)}"
                    raise Invalid("wrong-type", message, place_text(path), path)
            found = [value_at(element, rest) for element in record] if rest else record
            inner = any(later.each for later in rest)
            values: list[Any] = []
            for value in found:
                if value is not MISSING:
                    values += value if inner else [value]
            return values or MISSING
    return record


def split_records(value: Any, fields: Fields) -> list[Any]:
    """The records of a line's value."""
    if not fields.records:
        return [value]
    if fields.records == "[]":
        if not isinstance(value, list):
            raise Invalid("wrong-type", f"expected a list of records, found {type_name(value)}", column=1)
        return value
    if not isinstance(value, dict):
        raise Invalid("not-an-object", f"expected an object, found {type_name(value)}", column=1)
    if fields.records == "columns":
        return _rows(value, fields)
    path = fields.records_place
    inner = value_at(value, path)
    if inner is MISSING:
        if fields.skip_unscored:
            raise NotASample
        raise Invalid("missing", "missing: there should be a list of samples", fields.records, path)
    return [{**value, **sample} if isinstance(sample, dict) else sample for sample in inner]


def _rows(value: dict[str, Any], fields: Fields) -> list[dict[str, Any]]:
    """An object of arrays side by side → an object for each place; what is neither read nor as long stays whole."""
    read = list(dict.fromkeys(root for name in KINDS for root in root_keys(fields.paths[name]) or value))
    size = max((len(value[key]) for key in read if isinstance(value.get(key), list)), default=None)
    if size is None:
        if fields.skip_unscored:
            raise NotASample
        raise Invalid("wrong-type", "expected arrays with an element for each response, found none", column=1)
    for key in read:
        if isinstance(value.get(key), list) and len(value[key]) != size:
            raise Invalid("unequal-lengths", f"{count_elements(len(value[key]))}, but others have {size}", key)
    side_by_side = {key for key, inner in value.items() if isinstance(inner, list) and len(inner) == size}
    return [{key: inner[i] if key in side_by_side else inner for key, inner in value.items()} for i in range(size)]


def root_keys(place: Place) -> Iterable[str]:
    """The record's own keys that a place begins with."""
    if isinstance(place, Expression):
        from budget_cli.schema import expressions

        return sorted(expressions.roots(place.text) or ())
    return (place[0].key,)


def count_elements(elements: int) -> str:
    return f"{elements} element{'' if elements == 1 else 's'}"
