"""What the OpenAPI schema says of all endpoints alike: paths as they are documented, and the one shape of an error."""

from __future__ import annotations

from typing import Any

_METHODS = {"get", "post", "put", "patch", "delete"}
_ERROR = {
    "type": "object",
    "description": "The one shape of an error. `code` is stable, `details` names the fields that are wrong.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "examples": ["insufficient_balance"]},
                "message": {"type": "string"},
                "details": {"type": "object", "additionalProperties": True},
                "request_id": {"type": "string", "description": "The response's `X-Request-ID`."},
            },
            "required": ["code", "message", "details", "request_id"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}


def describe_all(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    result["paths"] = {path.removesuffix("/"): operations for path, operations in result["paths"].items()}
    result["components"]["schemas"]["Error"] = _ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in result["paths"].values():
        for method in _METHODS & operations.keys():
            responses = operations[method]["responses"]
            responses.setdefault("4XX", {"description": "The request was refused.", "content": content})
            responses.setdefault("5XX", {"description": "The request failed on our side.", "content": content})
    return result
