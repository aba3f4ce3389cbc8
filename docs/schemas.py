"""The named tuples that hold the answers → a JSON Schema (draft 2020-12) for the JSON of each command.

The tuples say the names and the types, their comments and the glossary what they are; what a writer adds around them
is said here. Names may be added to a result, so a schema allows others than its own; the tests of the schemas do not.
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from budget_cli.analysis import compare, fields, glossary, loss, policies, show, suggestion, sweep
from budget_cli.analysis.checks import findings, run
from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.grid import Grid, Overlong
from budget_cli.ids import Key
from budget_cli.objective import Terms
from budget_cli.records.columns import Label, Rejection
from budget_cli.scanning import summary

Schema = dict[str, Any]
SIMPLE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
STATUS: Schema = {"enum": ["pass", "fail"]}
COMMENT = re.compile(r"^    (\w+): [^#\n]*  # (.+)$", re.MULTILINE)  # of a member; the unit, mostly


def of(kind: Any) -> Schema:
    """Return the schema of a type."""
    if kind is Any:
        return {}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _any([of(each) for each in arguments])
    if origin is tuple and Ellipsis not in arguments:
        return {"type": "array", "items": _any([of(each) for each in arguments]), **_exactly(len(arguments))}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": of(arguments[1])}
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": of(arguments[0])}
    if hasattr(kind, "KEYS"):  # a dict of numbers
        number = of(float | None)
        return _object(dict.fromkeys(kind.KEYS, number), kind.__doc__)
    names = [each.name for each in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    hints, comments = get_type_hints(kind), dict(COMMENT.findall(inspect.getsource(kind)))
    said = {name: {"description": words.replace("None", "null")} for name, words in comments.items()}
    return _object({name: of(hints[name]) | said.get(name, {}) for name in names}, kind.__doc__)


def _exactly(items: int) -> Schema:
    return {"minItems": items, "maxItems": items}


def _any(schemas: list[Schema]) -> Schema:
    """Return the schema of what fits one of these, in one list of types if they say nothing else."""
    if all(set(each) == {"type"} for each in schemas):
        kinds = list(dict.fromkeys(each["type"] for each in schemas))
        return {"type": kinds[0] if len(kinds) == 1 else kinds}
    if len(schemas) == 2 and schemas[1] == {"type": "null"} and schemas[0].get("type") in ("object", "array"):
        return {**schemas[0], "type": [schemas[0]["type"], "null"]}
    return {"anyOf": schemas}


def _object(properties: Mapping[str, Schema], says: str | None = None, optional: Sequence[str] = ()) -> Schema:
    said = {"description": " ".join(says.split())} if says else {}
    required = [name for name in properties if name not in optional]
    return {"type": "object", **said, "properties": dict(properties), "required": required}


def _with(
    base: Schema, more: Mapping[str, Schema], without: Sequence[str] = (), optional: Sequence[str] = ()
) -> Schema:
    """Return an object with other properties: more, and without some; those in `optional` may be missing."""
    properties = {name: each for name, each in base["properties"].items() if name not in without} | dict(more)
    required = [name for name in properties if name not in optional and (name in more or name in base["required"])]
    return base | {"properties": properties, "required": required}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _nullable(schema: Schema) -> Schema:
    return _any([schema, {"type": "null"}])


REJECTION = _with(of(Rejection), {}, optional=("path",))
EVIDENCE = _with(of(findings.Evidence), {}, optional=("path",))
AT = _with(of(findings.Evidence), {}, optional=("path", "column"))  # of a response
GATES = _list(of(GateResult))
KEY, LABEL = of(Key), of(Label)
WHOLE = {  # of every command that reads a dump
    "records": of(loss.Records),
    "left_out": COUNTS,
    "lengths_from": of(get_type_hints(loss.Loss)["lengths_from"]),
    "length_origins": of(loss.LengthOrigins),
    "tokenizer": of(str | None),
}
ENDS = {"rejections": _list(REJECTION), "incomplete": TEXTS, "warnings": TEXTS}


def _named(name: str) -> Schema:
    return {"const": name}


def _loss() -> Schema:
    body = of(loss.Loss)
    head = {"schema": _named(loss.SCHEMA), "status": STATUS, "headline": of(str)}
    row = _with(body, {"key": LABEL, "gates": GATES}, without=("objective", "aggregate", "coefficients"))
    more = {**head, "gates": GATES, **ENDS, "per_prompt": _list(of(loss.Prompt)), "by": _list(row)}
    return _with(body, more, optional=("per_prompt", "by"))


def _check() -> Schema:
    finding = _with(of(findings.Finding), {"class": of(Literal["dump", "choice"]), "evidence": _list(EVIDENCE)})
    finding["properties"]["severity"] = {"enum": [each.name for each in findings.Severity]}
    token = _with(AT, {"token": of(int), "log_ratio": of(float | None)}, optional=("path", "column"))
    tokens = _with(of(policies.Tokens), {"worst": _list(token)})
    compared = _with(of(policies.Policies), {"max_at": _nullable(AT), "tokens": _nullable(tokens)}, without=("pair",))
    number, penalty = of(float | None), {"token_budget": of(int), "budget_penalty_coef": of(float)}
    in_reward = _object(
        {
            "found": of(bool),
            **penalty,
            "largest": number,
            "counts_prompt": of(bool),
            "responses": of(int),
            "of": of(int),
        },
        optional=("token_budget", "budget_penalty_coef", "largest", "counts_prompt", "responses", "of"),
    )
    estimator = {"advantage": of(str), "ddof": of(int | None), "eps": number, "slope": number, "baseline": number}
    stored = _object(
        {
            "found": of(bool),
            "fits": _list(_object({**estimator, "all_eps": _list(of(float))})),
            "options": of(str | None),
            "prompts": of(int),
            "of_sample": of(bool),
            "agreeing": of(int),
            "differing": of(int | None),
            "regrouped": of(int),
            "largest_residual": number,
            "worst_residual": number,
            "tolerance": _object({"share": of(float), "absolute": of(float)}),
            "penalty": _nullable(
                _object({**penalty, "cap": of(int | None), "penalize": of(Literal["correct", "all"])})
            ),
            "singletons": COUNTS,
            "incomplete": of(int),
            "nearest": _object({**estimator, "residual": number}),
            "root_mean_square": number,
            "by_position": _nullable(_object({"size": of(int), **estimator, "agreeing": of(int), "of": of(int)})),
        },
        "Whose advantages the trainer stored.",
    )
    found = {
        "counts": _object({each.name: of(int) for each in findings.Severity}),
        "findings": _list(finding),
        "policies": _list(compared),
        "stored_advantages": _nullable(stored),
    }
    counts = {"prompts": of(int), "responses": of(int)}
    return _object(
        {
            "schema": _named(run.SCHEMA),
            "status": STATUS,
            "headline": of(str),
            **found,
            "coefficients": _with(of(loss.Coefficients), {}, without=("kl_coef",)),
            "objective": of(loss.ObjectiveGiven),
            "penalty_in_reward": _nullable(in_reward),
            **counts,
            **WHOLE,
            "checked": TEXTS,
            "unchecked": _list(of(run.SkippedChecks)),
            "thresholds": {"type": "object", "additionalProperties": of(float)},
            "reasons": TEXTS,
            "incomplete": TEXTS,
            "by": _list(_object({"key": LABEL, **counts, **found})),
        },
        optional=("by",),
    )


def _cell() -> Schema:
    """Return the schema of a cell of a sweep, which has some numbers of a loss or all of them."""
    numbers = _with(of(loss.Loss), {}, without=("aggregate", "objective", "lengths_from", "tokenizer"))

    def loose(schema: Schema) -> Schema:
        inner = {name: loose(each) for name, each in schema.get("properties", {}).items()}
        return schema | {"properties": inner, "required": []} if inner else schema

    return loose(numbers) | {"required": ["coefficients", "loss"]}


def _sweep() -> Schema:
    cells = {"cells": _list({"$ref": "#/$defs/cell"}), "budgets": _list({"$ref": "#/$defs/budget"})}
    counts = {"prompts": of(int), "responses": of(int)}
    row = {"key": LABEL, **counts, **cells, "records": WHOLE["records"], "left_out": COUNTS}
    cell = _cell()
    factor = {"budget_factor": of(float)}  # of the budgets that records have of their own
    cell["properties"]["coefficients"] = _with(cell["properties"]["coefficients"], factor, optional=tuple(factor))
    body = _object(
        {
            "schema": _named(sweep.SCHEMA),
            "status": STATUS,
            "aggregate": of(loss.Aggregate),
            "objective": of(loss.ObjectiveGiven),
            "grid": _with(of(Grid), {}, optional=("budget_factor",)),
            "overlong": _nullable(of(Overlong)),
            **counts,
            **cells,
            **WHOLE,
            **ENDS,
            "by": _list(_object(row)),
        },
        optional=("by",),
    )
    budget = _with(of(sweep.AtBudget), {}, optional=("budget_factor",))
    return body | {"$defs": {"cell": cell, "budget": budget}}


def _suggestion() -> Schema:
    return _object(
        {
            "schema": _named(suggestion.SCHEMA),
            "status": STATUS,
            "share": of(float),
            "suggestions": _list(of(suggestion.Suggestion)),
            "left_out": COUNTS,
            **ENDS,
        },
        "What `budget-cli sweep --suggest` writes.",
    )


def _compare() -> Schema:
    body = of(compare.Comparison)
    side = _object({"name": of(str), **WHOLE, "only_here": _list(KEY), **ENDS})
    kept = ("pairing", "prompts", "responses", *compare.QUANTITIES, "uncertain")
    row = _object({"key": LABEL} | {name: body["properties"][name] for name in kept})
    more = {
        "schema": _named(compare.SCHEMA),
        "status": STATUS,
        "moved": _list(of(compare.Moved)),
        "gates": GATES,
        "base": side,
        "new": side,
        "by": _list(row),
    }
    return _with(body, more, optional=("by",))


def _show() -> Schema:
    token = of(show.Token)
    of_sampler = _with(token, {"sampler_log_prob": of(float)}, without=("old_log_prob",))
    response = _with(of(show.ShownResponse), {"worst_tokens_of_sampler": _list(of_sampler)})
    prompt = _with(of(loss.Prompt), {"question": of(str | None), "shown": _list(response)})
    return _object(
        {
            "schema": _named(show.SCHEMA),
            "what": of(str),
            "coefficients": of(loss.Coefficients),
            "objective": of(loss.ObjectiveGiven),
            "prompts": _list(prompt),
        }
    )


def _fields() -> Schema:
    return _with(of(fields.Inventory), {"schema": _named(fields.SCHEMA)})


def _annotated() -> Schema:
    number = of(float | None)
    terms = _object(dict.fromkeys(Terms._fields, number), Terms.__doc__)
    lists = _object(dict.fromkeys(Terms._fields, _list(number)), "The same of a record that holds a whole prompt.")
    record = _object({"budget_cli": {"anyOf": [terms, lists]}}, "A record that `budget-cli annotate` has written.")
    return record | {"additionalProperties": True}


def _summary() -> Schema:
    numbers, count = _list(of(float)), of(int)
    pairs = _list(_list(of(float)) | _exactly(2))
    return _object(
        {
            "schema": _named(summary.SCHEMA),
            "budgets": _list(count),
            "correct_above": of(float),
            "fields": {"type": "object", "additionalProperties": of(str | None)},
            "records_are": of(str),
            "group": of(str),
            "prompts_of_steps": of(bool),
            "needs": _object({"length": of(bool), "log_probs": of(bool)}),
            "options": {"type": "object"},
            "steps": _list(KEY),
            "columns": TEXTS,
            "prompts": count,
            "sources": TEXTS,
            "responses": count,
            "rows": count,
            "with_length": count,
            "with_log_ratio": count,
            "with_advantage": count,
            "lengths": pairs,
            "records": COUNTS,
            "rejected": COUNTS,
            "lacking": COUNTS,
            "length_origins": COUNTS,
            "rejections": _list(REJECTION),
            "incomplete": _list(TEXTS | _exactly(2)),
            "leave_out": {"type": "object"},
            "left_out": COUNTS,
            "left_out_places": _list({"type": "array"}),
            "warnings": TEXTS,
            "thresholds": {"type": "object", "additionalProperties": of(float)},
            "seen": _list({"type": "object"}),
            "right": numbers,
            "by_token": of(bool),
            "own": {"type": "object"},
            "checksum": of(str),
        },
        "The first line of a summary; docs/summaries.md describes the lines that follow.",
        optional=(
            "correct_above",
            "with_advantage",
            "leave_out",
            "left_out",
            "left_out_places",
            "warnings",
            "thresholds",
            "seen",
            "right",
            "by_token",
            "own",
        ),
    )


def _described(schema: Schema, words: Mapping[str, str], path: str = "") -> Schema:
    """Return the schema with what the glossary says of each key."""
    known = words.get(path, words.get(path.removeprefix("by[].")))  # a label has the numbers of the whole
    said = {"description": known} if known is not None and schema.get("type") != "object" else {}
    inner = {
        name: _described(each, words, f"{path}.{name}" if path else name)
        for name, each in schema.get("properties", {}).items()
    }
    parts = {name: _described(each, words, f"{name}s[]") for name, each in schema.get("$defs", {}).items()}
    items = {"items": _described(schema["items"], words, f"{path}[]")} if "items" in schema else {}
    return schema | ({"properties": inner} if inner else {}) | ({"$defs": parts} if parts else {}) | items | said


def schemas() -> dict[str, Schema]:
    """Return the schemas by their names in docs/schemas/."""
    made = {
        "loss": (_loss(), "budget-cli loss --format json"),
        "check": (_check(), "budget-cli check --format json"),
        "sweep": (_sweep(), "budget-cli sweep --format json"),
        "suggestion": (_suggestion(), "budget-cli sweep --suggest --format json"),
        "compare": (_compare(), "budget-cli compare --format json"),
        "show": (_show(), "budget-cli show --format json"),
        "fields": (_fields(), "budget-cli fields --format json"),
        "annotated": (_annotated(), "budget-cli annotate"),
        "summary": (_summary(), "budget-cli summarize"),
    }
    return {name: _whole(name, schema, command) for name, (schema, command) in made.items()}


def _whole(name: str, schema: Schema, command: str) -> Schema:
    words = {
        key: term.definition for term in glossary.TERMS.values() for of, key in term.shown if of.split()[0] == name
    }
    title = schema["properties"].get("schema", {}).get("const", "budget-cli/annotated")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "$comment": command}
    return head | _described(schema, words)
