"""The OpenAPI document, completed for every route alike: keys and scopes, problems, the shape of an event.

What a route must not forget is derived here from the same rule that guards it, so that the document cannot differ
from what the server does.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from recsys.events import Event
from serving.access.keys import Scope
from serving.access.rules import needed
from serving.api.problems import KINDS, MEDIA_TYPE
from serving.api.schemas import Problem
from serving.api.spotify import PREFIX, errors

REF = "#/components/schemas/{model}"
RETRY_SAFE: dict[str, Any] = {"x-retry-safe": True}
"""A POST that may be sent again whatever became of it: the client retries it."""
NDJSON_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One event a line, at most 50,000; 16 MiB as sent, 64 MiB unpacked.",
        "content": {"application/x-ndjson": {"schema": {}}},  # OpenAPI 3.1 has no word for a type by line
    },
    "parameters": [
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "enum": ["gzip", "identity"]},
        }
    ],
}
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key made by `recsys key create`. Scopes: " + ", ".join(Scope),
}
_ALWAYS = (400, 429, 431, 500)
_KEYED = (401, 403)
_WRITE = (413, 415)


class DocumentedApp(FastAPI):
    """A FastAPI app whose OpenAPI document is complete."""

    open_reads: bool = True

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi(), self.open_reads)
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """The handler's name: what a client's method is called."""
    return route.name


def complete(spec: dict[str, Any], open_reads: bool) -> dict[str, Any]:
    """The document with security, problems and events in it; changed in place."""
    components = spec.setdefault("components", {})
    components["securitySchemes"] = {"key": _SCHEME}
    schemas = components.setdefault("schemas", {})
    for model in (Problem, Event):
        schema = model.model_json_schema(ref_template=REF)
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            _complete_operation(operation, needed(method.upper(), path, open_reads), method)
            if path.startswith(PREFIX):
                errors.document(operation)
    return spec


def _complete_operation(operation: dict[str, Any], scope: Scope | None, method: str) -> None:
    responses = operation["responses"]
    statuses = {*_ALWAYS, *(int(s) for s in responses if s.isdigit() and int(s) >= 400)}
    if scope is not None:
        operation["security"] = [{"key": []}]
        operation["x-scope"] = str(scope)
        statuses |= set(_KEYED)
    if method != "get":
        statuses |= set(_WRITE)
    for status in sorted(statuses):
        responses[str(status)] = _problem(status)


def _problem(status: int) -> dict[str, Any]:
    titles = [kind.title for kind in KINDS if kind.status == status]
    reference = {"$ref": REF.format(model="Problem")}
    return {"description": "; ".join(titles) or "Problem", "content": {MEDIA_TYPE: {"schema": reference}}}
