"""What the OpenAPI schema says beyond the shapes: roles, refusals, idempotency and optimistic versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.urls import Resolver404, resolve
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.views import APIView

from helios.web import idempotency, roles
from helios.web.base_views import ActView
from helios.web.lanes import is_safer
from helios.web.parsing import MAX_BYTES
from helios.web.problems import CONTENT_TYPE
from helios.web.roles import Role, Rule
from helios.web.shapes import Body, Query, Versioned

View = TypeVar("View", bound=APIView)
Act = TypeVar("Act", bound=ActView)
Method = TypeVar("Method", bound=Callable[..., Any])

PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "example": "about:blank"},
        "title": {"type": "string", "example": "Bad Request"},
        "status": {"type": "integer", "example": 400},
        "detail": {
            "type": "string",
            "example": "The request is not valid: /percentage must be a whole number, was '5'",
        },
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "description": "Found again in X-Request-ID and in the log."},
        "errors": {
            "type": "array",
            "description": "What is wrong and where: in the body, among the parameters or in a header.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "additionalProperties": False,
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901, into the body.", "example": "/percentage"},
                    "parameter": {"type": "string", "example": "page_size"},
                    "header": {"type": "string", "example": "If-Match"},
                    "detail": {"type": "string", "example": "must be a whole number, was '5'"},
                },
            },
        },
    },
}
IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|(W/)?"?([0-9]{1,18}-)?[0-9]{1,18}"?)$'},
    OpenApiParameter.HEADER,
    description="the ETag you saw: 409 when it is another by now",
)
REASON: Final = OpenApiParameter("reason", str)
_ALWAYS: Final = {
    400: "Malformed: `errors` says which field, parameter or header.",
    401: "No token, a wrong one, or no session.",
    403: "The role does not suffice; `detail` names the one needed and the one held.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "A server that Helios needs does not answer; nothing was changed.",
}
_OF_WRITING: Final = {
    409: "Somebody was first, or a request under this key is under way: look again, then repeat.",
    413: f"The body has more than {MAX_BYTES} bytes.",
    415: "The body is not `application/json`.",
    422: "Well-formed and refused: `detail` says which rule it breaks. Nothing was changed.",
}


class HeliosSchema(AutoSchema):
    """Describes an operation with its role, its refusals and its headers."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        rule = self._rule()
        if operation is None or rule is None or rule.role is None:
            return operation
        operation["description"] = f"{operation.get('description', '')}\n\n{_words(rule)}".strip()
        operation["x-role"] = rule.role.label
        for status in self._refusals(operation):
            operation["responses"].setdefault(str(status), _problem(status))
        return operation

    def get_override_parameters(self) -> list[Any]:
        handler = getattr(self.view, self.method.lower(), None)
        if not getattr(handler, "idempotent", False):
            return []
        text = "Any key of yours, kept for 24 hours: the same request under it is answered again, not done again."
        if is_safer(self.method, self.path):
            text = "Taken and not kept: what makes trading safer is done each time that it is asked for."
        schema = {"type": "string", "pattern": r"^[\x21-\x7e]+$", "minLength": 1, "maxLength": 255}
        return [OpenApiParameter(idempotency.HEADER, type=schema, location=OpenApiParameter.HEADER, description=text)]

    def _rule(self) -> Rule | None:
        try:
            match = resolve(re.sub(r"\{[^}]+\}", "1", self.path))
        except Resolver404:
            return None
        return roles.rule(str(match.url_name), self.method)

    def _refusals(self, operation: dict[str, Any]) -> list[int]:
        """The statuses that this operation may refuse with."""
        found = dict(_ALWAYS)
        given = {parameter["in"] for parameter in operation.get("parameters", [])}
        if self.method != "GET":
            found |= _OF_WRITING
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        named = "path" in given or "name" in names or "name" in self._fields()
        if named or "page" in names:
            found[404] = ""
        return sorted(found)

    def _fields(self) -> set[str]:
        """Names of the body's fields: one called `name` may name something that is not there."""
        if self.method == "GET":
            return set()
        shape = self.get_request_serializer()
        shape = shape() if isinstance(shape, type) else shape
        return set(getattr(shape, "fields", {}))


def described(
    tag: str,
    summary: str,
    identity: str,
    response: Any,
    request: type[Body] | None = None,
    parameters: Sequence[Any] = (),
    *,
    status: int = 200,
) -> Callable[[Method], Method]:
    """What the schema says of one operation; its docstring says the rest."""
    return extend_schema(
        tags=[tag],
        summary=summary,
        operation_id=identity,
        request=request,
        responses={status: response},
        parameters=list(parameters),
    )


def listed(tag: str, summary: str, identity: str) -> Callable[[type[View]], type[View]]:
    """The same of a list; its class says the rest."""

    def decorate(view: type[View]) -> type[View]:
        filters = getattr(view, "filters", Query)
        parameters = [] if filters is Query else [filters]
        get = extend_schema(tags=[tag], summary=summary, operation_id=identity, parameters=parameters)
        return extend_schema_view(get=get)(view)

    return decorate


def posted(*words: Any, **more: Any) -> Callable[[type[View]], type[View]]:
    """What `described` says, of a class whose `post` is its base's."""
    return extend_schema_view(post=described(*words, **more))


def acted(tag: str, summary: str, identity: str, *parameters: Any) -> Callable[[type[Act]], type[Act]]:
    """The same of something that a person does to a row."""

    def decorate(view: type[Act]) -> type[Act]:
        seen = [IF_MATCH] if issubclass(view.takes, Versioned) else []
        return posted(tag, summary, identity, view.serializer_class, view.takes, [*seen, *parameters])(view)

    return decorate


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A drf-spectacular hook: adds `Problem` and makes it the default response of every operation."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            operation["responses"].setdefault("default", {**_problem(500), "description": "Any other error"})
    return result


def _words(rule: Rule) -> str:
    """The rule as a sentence."""
    role = rule.role.label if rule.role else "none"
    raised = f"; **{Role.TRADER.label}** {rule.raised}" if rule.raised else ""
    return f"Role: **{role}**{raised}."


def _problem(status: int) -> dict[str, Any]:
    words = {**_ALWAYS, **_OF_WRITING, 404: "Nothing has this name or number; `detail` says which come near."}
    found: dict[str, Any] = {
        "description": words.get(status, HTTPStatus(status).phrase),
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in {429, 503}:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return found
