"""`/docs`: the API's reference, rendered from its own OpenAPI document; no script, nothing fetched elsewhere."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from serving.api.problems import KINDS
from serving.page.render import render


def router(app: FastAPI) -> APIRouter:
    """The reference page of one app."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    def docs() -> HTMLResponse:
        spec = app.openapi()
        return HTMLResponse(
            render("reference.html", operations=_operations(spec), kinds=KINDS, info=spec["info"])
        )

    return routes


def _operations(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Each endpoint with its parameters and examples, in the order of the app."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "description": operation.get("description", ""),
            "parameters": [_parameter(p) for p in operation.get("parameters", [])],
            "request": _example(spec, operation.get("requestBody")),
            "answer": _example(spec, operation["responses"].get("200")),
            "statuses": sorted(operation["responses"]),
        }
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    options = [schema, *schema.get("anyOf", [])]
    rules = {
        key: value
        for option in options
        for key, value in option.items()
        if key in {"minimum", "maximum", "maxLength", "pattern", "default"} and value is not None
    }
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "required": parameter.get("required", False),
        "description": parameter.get("description", ""),
        "rules": rules,
    }


def _example(spec: dict[str, Any], body: dict[str, Any] | None) -> str:
    """An example of a JSON body, put together from the examples of its fields; empty where it has none."""
    schema = (body or {}).get("content", {}).get("application/json", {}).get("schema")
    value = _value(spec, schema) if schema else None
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def _value(spec: dict[str, Any], schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(spec, spec["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if schema.get("examples"):
        return schema["examples"][0]
    if "anyOf" in schema:
        return _value(spec, schema["anyOf"][0])
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(spec, part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(spec, schema["items"])] if schema.get("items") else []
    return {"string": "...", "integer": 0, "number": 0.5, "boolean": False}.get(str(kind))
