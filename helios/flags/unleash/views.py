"""The interface that Unleash's SDKs speak: they read Helios's flags as if it were their server.

The paths and the payload are those of the Unleash client specification. An SDK sends its token bare.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from loguru import logger
from rest_framework import exceptions, serializers
from rest_framework.authentication import get_authorization_header
from rest_framework.request import Request
from rest_framework.response import Response

from helios import flags
from helios.flags.unleash import client_features
from helios.web.base_views import ApiView, actor
from helios.web.models import ApiToken
from helios.web.tokens import HashedTokens

TAG: Final = ["client"]
_TAGS: Final = re.compile(r'(?:W/)?"[^"]*"')


class BareToken(HashedTokens):
    """`Authorization: <token>` as SDKs send it; `Token <token>` and `Bearer <token>` work as well."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        words = get_authorization_header(request).split()
        if not words:
            return None
        if len(words) > 2 or (len(words) == 2 and words[0].lower() not in {b"token", b"bearer"}):
            raise exceptions.AuthenticationFailed("Invalid token header: it must be the token alone.")
        try:
            key = words[-1].decode("ascii")
        except UnicodeDecodeError as error:
            raise exceptions.AuthenticationFailed("Invalid token.") from error
        return self.authenticate_credentials(key)


class BareTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The schema's words for it."""

    target_class = BareToken
    name = "clientToken"

    def get_security_definition(self, _auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "The token alone."}


class Features(serializers.Serializer[Any]):
    """Unleash's client format, version 2."""

    version = serializers.IntegerField()
    features = serializers.ListField(child=serializers.DictField())
    segments = serializers.ListField(child=serializers.DictField())
    query = serializers.DictField()
    meta = serializers.DictField()


class _ClientView(ApiView):
    authentication_classes = (BareToken,)
    reads_query = True  # SDKs send what we do not know


class ClientFeatures(_ClientView):
    """Flags for SDKs."""

    @extend_schema(
        tags=TAG,
        summary="Read all flags in Unleash's format",
        operation_id="client_features",
        parameters=[OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="the ETag you have")],
        responses={200: Features, 304: None},
    )
    def get(self, request: Request) -> Response:
        """The flags as they are now; 304 without a body when the caller has them already."""
        flags.refresh_if_behind()
        body = client_features.client_features()
        tag = client_features.etag(body)
        known = _TAGS.findall(request.headers.get("If-None-Match", ""))
        if tag in {each.removeprefix("W/") for each in known}:
            return Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        return Response(body, headers={"ETag": tag, "Cache-Control": "private, no-cache"})


def _reported(summary: str, identity: str) -> Callable[[type[_Report]], type[_Report]]:
    report = {"application/json": {"type": "object", "additionalProperties": True}}
    post = extend_schema(tags=TAG, summary=summary, operation_id=identity, request=report, responses={202: None})
    return extend_schema_view(post=post)


class _Report(_ClientView):
    """What an SDK tells about itself: noted in the log, nothing is kept."""

    event = ""

    def post(self, request: Request) -> Response:
        """Accepted and noted in the log."""
        report = request.data
        if not isinstance(report, dict):
            raise exceptions.ValidationError({"non_field_errors": ["must be a JSON object, was not"]})
        app = str(report.get("appName", ""))[:100]
        logger.bind(app=app, user=actor(request)).debug(self.event)
        return Response(status=HTTPStatus.ACCEPTED)


@_reported("Register an SDK", "client_register")
class ClientRegister(_Report):
    """An SDK starts."""

    event = "client.registered"


@_reported("Report an SDK's metrics", "client_metrics")
class ClientMetrics(_Report):
    """An SDK counts its evaluations."""

    event = "client.metrics"
