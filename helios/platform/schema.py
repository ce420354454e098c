"""What the OpenAPI schema says about errors: every operation may answer with a problem."""

from __future__ import annotations

from typing import Any, Final

PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "example": "about:blank"},
        "title": {"type": "string", "example": "Not Found"},
        "status": {"type": "integer", "example": 404},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "description": "Found again in X-Request-ID and in the log."},
        "errors": {
            "type": "object",
            "additionalProperties": True,
            "description": "By field, for invalid requests.",
        },
    },
}


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A drf-spectacular hook: adds `Problem` and makes it the default response of every operation."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    reference = {"$ref": "#/components/schemas/Problem"}
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            operation["responses"].setdefault(
                "default",
                {"description": "Any error", "content": {"application/problem+json": {"schema": reference}}},
            )
    return result
