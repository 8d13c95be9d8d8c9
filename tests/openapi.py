"""Keito's own description of API v2, by which requests and answers are checked, whoever makes them.

An OpenAPI 3.0 schema is nearly a JSON Schema. Three things are translated: `nullable`, which is a type of its own
there; `$ref`, which replaces whatever stands beside it; and openness, since objects may have any further property
by the letter, and here only those that are described, unless the description itself says otherwise.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml
from jsonschema import Draft202012Validator, FormatChecker

FILE = Path(__file__).parent / "sandbox" / "keito-openapi-v2.yaml"

_FORMATS = FormatChecker(formats=())
_WORDS = {"true": True, "false": False}


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


def check_answer(method: str, path: str, status: int, body: object) -> None:
    """Refuse an answer that the description doesn't allow.

    Any error may be answered, also one that isn't listed for the operation (none lists 405 or 500), but always as
    described: the file lists 401 for some operations and means all.

    Args:
        method: The request's method.
        path: The request's path, as on the wire and without the query.
        status: The answer's status.
        body: The answer's parsed JSON, `None` where it has none.

    Raises:
        AssertionError: The operation or the status is unknown, or the body is not as described.
    """
    answers = _operation(method, path)[0]["responses"]
    answer = _resolved(answers[str(status)]) if str(status) in answers else None
    if answer is None:
        assert status >= 400, f"{method} {path} never answers {status}"
        answer = _resolved({"$ref": "#/components/responses/BadRequest"})
    if "content" not in answer:
        assert body is None, f"{method} {path} answers {status} without a body"
        return
    _check(f"the answer {status} to {method} {path}", answer["content"]["application/json"]["schema"], body)


def check_request(method: str, path: str, query: str, body: object) -> None:
    """Refuse a request that the description doesn't allow.

    Args:
        method: Its method.
        path: Its path, as on the wire and without the query.
        query: Its query, as on the wire.
        body: Its parsed JSON, `None` where it has none.

    Raises:
        AssertionError: The operation, a parameter or a property is unknown, or a value is not as described.
    """
    operation, shared = _operation(method, path)
    parameters = {
        parameter["name"]: parameter
        for parameter in map(_resolved, [*shared, *operation.get("parameters", [])])
        if parameter["in"] == "query"
    }
    given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    names = [name for name, _ in given]
    assert len(names) == len(set(names)), f"{method} {path} repeats a parameter: {query}"
    for name, text in given:
        assert name in parameters, f"{method} {path} has no parameter {name}; it has {', '.join(parameters)}"
        for value in _values(parameters[name], text):
            _check(f"{name}={text} of {method} {path}", parameters[name]["schema"], value)
    accepted = operation.get("requestBody")
    if accepted is None:
        assert body is None, f"{method} {path} takes no body"
    elif body is not None or accepted["required"]:
        _check(f"the body of {method} {path}", accepted["content"]["application/json"]["schema"], body)


def properties_of(name: str) -> set[str]:
    """Return the names of all properties of a schema, such as `TimeEntry`."""
    return set(_described()["components"]["schemas"][name]["properties"])


@cache
def _described() -> dict[str, Any]:
    described = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert isinstance(described, dict)
    return described


def _operation(method: str, path: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the operation, and the parameters that all operations of its path have."""
    for template, item in _described()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path):
            assert method.lower() in item, f"{path} has no {method}"
            return item[method.lower()], item.get("parameters", [])
    raise AssertionError(f"there is no {path}")


def _values(parameter: Mapping[str, Any], text: str) -> list[object]:
    """Return what the text of a parameter says, each value as its type; text that says nothing such stays text."""
    if "Comma-separated" in parameter.get("description", ""):
        return list(text.split(","))
    match parameter["schema"]["type"]:
        case "boolean":
            return [_WORDS.get(text, text)]
        case "integer" if re.fullmatch("-?[0-9]+", text):
            return [int(text)]
        case _:
            return [text]


def _check(what: str, schema: Mapping[str, Any], value: object) -> None:
    validator = Draft202012Validator(_translated(schema), format_checker=_FORMATS)
    problems = [f"{'.'.join(map(str, error.path)) or 'it'}: {error.message}" for error in validator.iter_errors(value)]
    assert not problems, f"{what} is not as described: {'; '.join(problems)}"


def _resolved(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reference leads to, else the node itself."""
    if "$ref" not in node:
        return dict(node)
    target: Any = _described()
    for name in node["$ref"].removeprefix("#/").split("/"):
        target = target[name]
    return _resolved(target)


def _translated(schema: Mapping[str, Any], *, closed: bool = True) -> dict[str, Any]:
    """Return the JSON Schema that means the same, but for the openness of objects where it is `closed`."""
    schema = _resolved(schema)
    nullable = schema.pop("nullable", False)
    if "properties" in schema:
        schema["properties"] = {name: _translated(property_) for name, property_ in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _translated(schema["items"])
    if "allOf" in schema:
        # The parts are open to each other's properties; the whole is closed.
        schema["allOf"] = [_translated(part, closed=False) for part in schema["allOf"]]
    if closed and ("properties" in schema or "allOf" in schema) and "additionalProperties" not in schema:
        schema["unevaluatedProperties"] = False
    if nullable:
        schema["type"] = [schema["type"], "null"]
    return schema
