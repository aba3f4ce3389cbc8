"""A JSON value and a place → the value at that place; the value of a line → its records. Knows no bytes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from budget_cli.schema.fields import KINDS, LINE, Fields
from budget_cli.schema.json_values import Invalid, type_name
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Expression, Place

if TYPE_CHECKING:
    from budget_cli.schema.containers import Container, Found

MISSING: Final = object()
TABLE = "table"
# the keys of a table as Weights & Biases and pandas write it: an object with any other is a record
OF_TABLES = {"columns", "data", "index", "ncols", "nrows", "column_types", "log_mode", "_type", "_increment_num"}


class NotASample(Exception):
    """The line is not a sample, such as a header. The reference reader catches it and counts the line as skipped."""


def value_at(record: Any, path: Place) -> Any:
    """Return the value at the place, or MISSING; a path through `[]` gives a flat list of values.

    Raises:
        Invalid: a value on the way has the wrong type, or an expression cannot be computed.
    """
    if isinstance(path, Expression):
        from budget_cli.schema.expressions import evaluate  # and jmespath, which only expressions need

        value = evaluate(path.text, record)
        return MISSING if value is None else value
    for depth, step in enumerate(path):
        if not isinstance(record, dict) or step.key not in record:
            return MISSING
        record = record[step.key]
        if step.each:
            if not isinstance(record, list):
                raise Invalid("wrong-type", f"expected a list, found {type_name(record)}", place_text(path), path)
            rest = path[depth + 1 :]
            if rest and any(isinstance(element, list) for element in record):  # as [] of JMESPath does
                record = [each for element in record for each in (element if isinstance(element, list) else [element])]
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


def field_value(record: Any, fields: Fields, name: str) -> Any:
    """Return the value of a field, unchecked; None if it is missing or null, or its place does not lead to one."""
    try:
        value = value_at(record, fields.paths[name])
    except Invalid:
        return None
    return None if value is MISSING else value


def split_records(value: Any, fields: Fields) -> list[Any]:
    """Return the records that the value of a line holds.

    Raises:
        Invalid: the value does not have the shape that `fields.records` names.
        NotASample: there are no records, and such lines are to be skipped.
    """
    if not fields.records:
        return [value]
    if (ways := fields.container) is not None:
        return [record for _, record in located_records(value, fields, ways)]
    if fields.records == "[]":
        if not isinstance(value, list):
            raise Invalid("wrong-type", f"expected a list of records, found {type_name(value)}", column=1)
        return value
    if not isinstance(value, dict):
        raise Invalid("not-an-object", f"expected an object, found {type_name(value)}", column=1)
    if fields.records == "columns":
        return _rows(value, fields)
    if fields.records == TABLE:
        return rows_of_table(value)
    path = fields.records_place
    inner = value_at(value, path)
    if inner is MISSING and fields.empty_reason and _is_empty_list(value, path):
        return []
    if inner is MISSING:
        if fields.skip_unscored:
            raise NotASample
        raise Invalid("missing", "missing: expected a list of samples", fields.records, path)
    shared = {**value, LINE: value} if fields.leave_out else value
    return [{**shared, **sample} if isinstance(sample, dict) else sample for sample in inner]


def located_records(value: Any, fields: Fields, ways: "Container") -> "list[tuple[Found, Any]]":
    """Return the records that a value holds: as they are, and with what is around them.

    Raises:
        Invalid: the value is of another shape.
        NotASample: there is no such list, and such values are to be skipped.
    """
    from budget_cli.schema import containers  # which few dumps need

    try:
        found = list(containers.find(value, ways))
    except Invalid as bad:
        if bad.code == "missing" and fields.skip_unscored:
            raise NotASample from None
        raise
    records = containers.records_of(found, ways)
    if fields.leave_out:
        records = [{LINE: value, **each} if isinstance(each, dict) else each for each in records]
    return list(zip(found, records, strict=True))


def is_table(value: Any) -> bool:
    """True for an object with `columns`, which are names, and `data`, which are lists."""
    if not isinstance(value, dict) or not isinstance(value.get("columns"), list) or not value.keys() <= OF_TABLES:
        return False
    names, rows = value["columns"], value.get("data")
    return bool(names) and all(isinstance(name, str) for name in names) and isinstance(rows, list)


def rows_of_table(value: Any) -> list[dict[str, Any]]:
    """Return the rows of a table as objects, whose keys are the names of its columns.

    Raises:
        Invalid: it is no table, a row does not have a value for each column, or there are fewer rows than it says.
    """
    if not is_table(value):
        raise Invalid("wrong-type", "expected a table: columns, which are names, and data, which are lists", column=1)
    names = value["columns"]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise Invalid("wrong-type", f"the table names the column {twice!r} twice", "columns")
    for i, row in enumerate(value["data"]):
        if not isinstance(row, list) or len(row) != len(names):
            found = count_elements(len(row)) if isinstance(row, list) else type_name(row)
            raise Invalid("unequal-lengths", f"row {i}: {found}, but there are {len(names)} columns", "data")
    if isinstance(value.get("nrows"), int) and value["nrows"] != len(value["data"]):
        found = f"{len(value['data']):,} row{'' if len(value['data']) == 1 else 's'}, but nrows is {value['nrows']:,}"
        raise Invalid("unequal-lengths", f"{found}: the logger kept only some of them", "data")
    return [dict(zip(names, row, strict=True)) for row in value["data"]]


def _is_empty_list(value: Any, path: Place) -> bool:
    """True if there is a list at the end of a path, and it is empty."""
    if isinstance(path, Expression):
        return False
    return bool(value_at(value, (*path[:-1], path[-1]._replace(each=False))) == [])


def _rows(value: dict[str, Any], fields: Fields) -> list[dict[str, Any]]:
    """Turn an object of parallel arrays into one object per element; any other member is in each of them."""
    read = list(dict.fromkeys(root for name in KINDS for root in root_keys(fields.paths[name]) or value))
    size = max((len(value[key]) for key in read if isinstance(value.get(key), list)), default=None)
    if size is None:
        if fields.skip_unscored:
            raise NotASample
        raise Invalid("wrong-type", "expected arrays with an element for each response, found none", column=1)
    for key in read:
        if isinstance(value.get(key), list) and len(value[key]) != size:
            raise Invalid("unequal-lengths", f"{count_elements(len(value[key]))}, but others have {size}", key)
    parallel = {key for key, inner in value.items() if isinstance(inner, list) and len(inner) == size}
    return [{key: inner[i] if key in parallel else inner for key, inner in value.items()} for i in range(size)]


def root_keys(place: Place) -> Iterable[str]:
    """Return the keys of the record that a place starts from; none if an expression does not tell."""
    if isinstance(place, Expression):
        from budget_cli.schema.expressions import roots  # and jmespath, which only expressions need

        return sorted(roots(place.text) or ())
    return (place[0].key,)


def count_elements(elements: int) -> str:
    """Write `1 element` or `2 elements`."""
    return f"{elements} element{'' if elements == 1 else 's'}"
