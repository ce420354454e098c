"""Breakers over HTTP: reading, setting, forcing open and closing."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.breakers import shapes
from helios.breakers import roles, services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.errors import Conflict
from helios.web.access import demand
from helios.web.base_views import ApiView, ListView, actor, body, no_query, query, seen_version, unknown, versioned
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, listed, posted
from helios.web.shapes import Reasoned, ReasonQuery

TAG: Final = ["circuit-breakers"]
_LOOKUPS: Final = {"order_path": "order_path", "mode": "mode"}


def found(name: str) -> CircuitBreaker:
    """The breaker, or 404 with the nearest name."""
    row = CircuitBreaker.objects.filter(name=name).first()
    if row is None:
        raise unknown("circuit breaker", name, CircuitBreaker.objects.values_list("name", flat=True))
    return row


def shown(name: str, *, made: bool = False) -> Response:
    """The breaker as it stands now, with its version as ETag."""
    row = found(name)
    return versioned(row, shapes.BreakerSerializer, made_at=f"/api/modularity/circuit-breakers/{name}" if made else "")


@listed(TAG, "List breakers", "breakers_list")
class BreakerList(ListView[CircuitBreaker]):
    """All breakers with the state that all workers share."""

    model = CircuitBreaker
    serializer_class = shapes.BreakerSerializer
    filters = shapes.BreakerFilter
    lookups: ClassVar = _LOOKUPS

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[CircuitBreaker]:
        return CircuitBreaker.objects.order_by("name")

    @extend_schema(
        tags=TAG,
        summary="Make a breaker",
        operation_id="breakers_create",
        request=shapes.NewBreaker,
        responses={201: shapes.BreakerSerializer},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """A new breaker for `breaker(name)` in code; settings that are left out get their defaults."""
        no_query(request)
        wanted = body(request, shapes.NewBreaker)
        name, reason = wanted.pop("name"), wanted.pop("reason")
        demand(request, roles.for_breaker(order_path=wanted.get("order_path", False)))
        if CircuitBreaker.objects.filter(name=name).exists():
            raise Conflict(f"a new breaker's name must be free, was taken: {name}")
        services.create(name, wanted, actor=actor(request), reason=reason)
        return shown(name, made=True)


class BreakerDetail(ApiView):
    """One breaker."""

    @extend_schema(
        tags=TAG, summary="Read a breaker", operation_id="breakers_read", responses=shapes.BreakerDetailSerializer
    )
    def get(self, request: Request, name: str) -> Response:
        """How it is set, where it stands, and its last transitions."""
        no_query(request)
        row = found(name)
        return versioned(row, shapes.BreakerDetailSerializer)

    @extend_schema(
        tags=TAG,
        summary="Change settings of a breaker",
        operation_id="breakers_configure",
        parameters=[IF_MATCH],
        request=shapes.BreakerPatch,
        responses=shapes.BreakerSerializer,
    )
    def patch(self, request: Request, name: str) -> Response:
        """Every worker follows; with a version only if nobody changed the breaker since."""
        no_query(request)
        wanted = body(request, shapes.BreakerPatch)
        reason, version = wanted.pop("reason"), seen_version(request, wanted.pop("version", None))
        guards = found(name).order_path or wanted.get("order_path", False)
        demand(request, roles.for_breaker(order_path=guards))
        services.configure(name, wanted, actor=actor(request), reason=reason, version=version)
        return shown(name)

    @extend_schema(
        tags=TAG,
        summary="Delete a breaker",
        operation_id="breakers_delete",
        parameters=[IF_MATCH, OpenApiParameter("reason", str)],
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        """One that no code uses any more; its history stays. Shipped ones cannot be deleted."""
        reason = query(request, ReasonQuery)["reason"]
        demand(request, roles.for_breaker(order_path=found(name).order_path))
        services.delete(name, actor=actor(request), reason=reason, version=seen_version(request, None))
        return Response(status=HTTPStatus.NO_CONTENT)


@listed(TAG, "List a breaker's transitions", "breakers_history")
class History(ListView[CircuitBreakerEvent]):
    """Every transition of one breaker, newest first."""

    model = CircuitBreakerEvent
    serializer_class = shapes.BreakerTransition

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[CircuitBreakerEvent]:
        name = self.kwargs["name"]
        rows = CircuitBreakerEvent.objects.filter(breaker_id=name).order_by("-id")
        if not rows.exists():
            found(name)
        return rows


class _Act(ApiView):
    """One thing a person does to one breaker."""

    opens = False
    service: ClassVar[Callable[..., object]]

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        no_query(request)
        reason = body(request, Reasoned)["reason"]
        demand(request, roles.for_breaker(order_path=found(name).order_path, opens=self.opens))
        type(self).service(name, actor=actor(request), reason=reason)
        return shown(name)


@posted(TAG, "Force a breaker open", "breakers_open", Reasoned, shapes.BreakerSerializer)
class Open(_Act):
    """Refuse every call until a person closes it; orders that only reduce a position still pass."""

    opens = True

    service = staticmethod(services.force_open)


@posted(TAG, "Close a breaker", "breakers_close", Reasoned, shapes.BreakerSerializer)
class Close(_Act):
    """Let calls pass from now on."""

    service = staticmethod(services.close)


@posted(TAG, "Reset a breaker", "breakers_reset", Reasoned, shapes.BreakerSerializer)
class Reset(_Act):
    """Close it and forget its outcomes; calls under way no longer count."""

    service = staticmethod(services.reset)


@posted(TAG, "Let a breaker only measure", "breakers_metrics_only", Reasoned, shapes.BreakerSerializer)
class MetricsOnly(_Act):
    """Every call passes; what it would have done is in its history. Refused for one that guards orders."""

    service = staticmethod(services.metrics_only)


@posted(TAG, "Let a breaker act again", "breakers_normal", Reasoned, shapes.BreakerSerializer)
class Normal(_Act):
    """It acts by what it measures, from the state it stands in."""

    service = staticmethod(services.normal)


@posted(TAG, "Reset all breakers", "breakers_reset_all", Reasoned, shapes.ResetNames)
class ResetAll(ApiView):
    """All breakers at once."""

    @idempotent(atomic=False)
    def post(self, request: Request) -> Response:
        """Close every breaker and forget the outcomes."""
        no_query(request)
        reason = body(request, Reasoned)["reason"]
        guarded = CircuitBreaker.objects.filter(order_path=True).exists()
        demand(request, roles.for_breaker(order_path=guarded))
        return Response({"reset": services.reset_all(actor=actor(request), reason=reason)})
