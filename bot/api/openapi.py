"""The API's description, OpenAPI 3.1: made from the routes there are, so that none can be missing."""

import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from bot.api.describe import Description

VERSION = "3.1.0"
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "snake_case, for programs"},
                "message": {"type": "string", "description": "one sentence in the language of Accept-Language"},
                "details": {},
            },
        }
    },
}
SECURITY: dict[str, dict[str, Any]] = {
    "cookie": {"type": "apiKey", "in": "cookie", "name": "kefu_session", "description": "a signed-in member of staff"},
    "key": {"type": "http", "scheme": "bearer", "description": "a key of `kefu keys add`"},
    "visitor": {"type": "http", "scheme": "bearer", "description": "the token of POST /api/sessions"},
}


def document(app: web.Application, version: str) -> dict[str, Any]:
    """The OpenAPI document of every route under /api."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Error": ERROR_SCHEMA}
    for route in app.router.routes():
        resource = route.resource
        if resource is None or not resource.canonical.startswith("/api/") or route.method in ("HEAD", "OPTIONS", "*"):
            continue
        description = vars(route.handler).get("docs") or _plain(route)
        operation = _operation(resource.canonical, route.method, description, schemas)
        paths.setdefault(resource.canonical, {})[route.method.lower()] = operation
    return {
        "openapi": VERSION,
        "info": {"title": "Kefu", "version": version, "summary": "客服: answers, knowledge, learning"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas, "securitySchemes": SECURITY},
    }


def _plain(route: web.AbstractRoute) -> Description:
    """For a handler that says nothing itself: the first sentence of its docstring, and who may."""
    handler = route.handler
    text = str(handler.__doc__ or getattr(handler, "__name__", ""))
    return Description(text.strip().split("\n")[0], who=getattr(handler, "role", "public"))


def _operation(path: str, method: str, description: Description, schemas: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)[^}]*}", path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if description.query:
        inner = description.query.model_json_schema()
        required = inner.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in inner["properties"].items()
        ]
    success: dict[str, Any] = {"description": description.summary}
    if description.response is not None:
        success["content"] = {description.content_type: {"schema": _schema(description.response, schemas)}}
    error = {
        "description": "Error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": description.summary,
        "tags": [path.split("/")[2]],
        "responses": {str(description.status): success, "default": error},
    }
    if parameters:
        operation["parameters"] = parameters
    if description.body is not None:
        content = {description.request_type: {"schema": _schema(description.body, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    if description.who == "visitor":
        operation["security"] = [{"visitor": []}]
    elif description.who != "public":
        operation["security"] = [{"cookie": []}, {"key": []}]
        operation["description"] = f"Role: {description.who}"
    return operation


def _schema(shape: type[BaseModel] | dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(shape, dict):
        return shape
    inner = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(inner.pop("$defs", {}))
    schemas[shape.__name__] = inner
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


async def openapi(request: web.Request) -> web.Response:
    """The description of this API, OpenAPI 3.1"""
    from bot.cli import product_version

    return web.json_response(document(request.app, product_version()))


routes = [web.get("/api/openapi.json", openapi)]
