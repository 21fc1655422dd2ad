"""The gateway's OpenAPI document, made from the operations and their msgspec structs."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from pipeline.gateway.answering import Problem
from pipeline.gateway.operations import Operation

VERSION = "3.1.0"
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document. Its schemas are JSON Schema, as msgspec makes it of the structs."""
    structs = [kind for each in operations for kind in (each.body, each.answer) if kind] + [Problem]
    schemas, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(structs, schemas, strict=True))
    paths: dict[str, Any] = {}
    for each in operations:
        path = _PARAMETER.sub(r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _described(each, schema_of)
    return {
        "openapi": VERSION,
        "info": {"title": "Claim check gateway", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def endpoint(operations: Sequence[Operation]) -> Callable[[Request], Response]:
    """Return what answers a request for the document."""
    text = msgspec.json.encode(document(operations))

    def answer(_: Request) -> Response:
        return Response(text, media_type="application/json")

    return answer


def _described(operation: Operation, schema_of: dict[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status): _content("Done", schema_of.get(operation.answer)),  # type: ignore[arg-type]
            "default": _content("Not done", schema_of[Problem]),
        },
        "security": [] if operation.is_public else [{"bearer": []}],
    }
    if operation.body is not None:
        described["requestBody"] = {**_content("", schema_of[operation.body]), "required": True}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [(name, "path") for name in _PARAMETER.findall(operation.path)]
    names += [(operation.query, "query")] if operation.query else []
    return [
        {"name": name, "in": where, "required": True, "schema": {"type": "string"}} for name, where in names
    ]


def _content(description: str, schema: Any) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {**described, "content": {"application/json": {"schema": schema}}} if schema else described
