"""Breakers over HTTP: reading, setting, forcing open and closing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.breakers import shapes
from helios.breakers import roles, services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.errors import Conflict
from helios.web.access import demand
from helios.web.base_views import ActView, ApiView, ListView, VersionedView, actor, body, unknown
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, REASON, acted, described, listed, posted
from helios.web.roles import Role
from helios.web.shapes import Reasoned

TAG: Final = "circuit-breakers"


def get_breaker(name: str) -> CircuitBreaker:
    """The breaker, or 404 with the nearest name."""
    row = CircuitBreaker.objects.filter(name=name).first()
    if row is None:
        raise unknown("circuit breaker", name, CircuitBreaker.objects.values_list("name", flat=True))
    return row


class _Breakers(VersionedView):
    serializer_class: Any = shapes.BreakerSerializer
    address = "/api/modularity/circuit-breakers"
    find = staticmethod(get_breaker)
    opens = False

    def needed(self, _name: str, row: CircuitBreaker | None, wanted: Mapping[str, Any]) -> Role:
        guards = (row is not None and row.order_path) or wanted.get("order_path", False)
        return roles.for_breaker(order_path=guards, opens=self.opens)


def _create(name: str, fields: Mapping[str, Any], **by: Any) -> None:
    if CircuitBreaker.objects.filter(name=name).exists():
        raise Conflict(f"a new breaker's name must be free, was taken: {name}")
    services.create(name, fields, **by)


@listed(TAG, "List breakers", "breakers_list")
class BreakerList(_Breakers, ListView[CircuitBreaker]):
    """All breakers with the state that all workers share."""

    filters = shapes.BreakerFilter
    lookups: ClassVar = {"order_path": "order_path", "mode": "mode"}

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[CircuitBreaker]:
        return CircuitBreaker.objects.order_by("name")

    @described(TAG, "Make a breaker", "breakers_create", shapes.BreakerSerializer, shapes.NewBreaker, status=201)
    @idempotent()
    def post(self, request: Request) -> Response:
        """A new breaker for `breaker(name)` in code; settings that are left out get their defaults."""
        return self.create(request, shapes.NewBreaker, _create)


class BreakerDetail(_Breakers):
    """One breaker."""

    @described(TAG, "Read a breaker", "breakers_read", shapes.BreakerDetailSerializer)
    def get(self, _request: Request, name: str) -> Response:
        """How it is set, where it stands, and its last transitions."""
        return self.shown(name, shapes.BreakerDetailSerializer)

    @described(
        *(TAG, "Change settings of a breaker", "breakers_configure"),
        *(shapes.BreakerSerializer, shapes.BreakerPatch, [IF_MATCH]),
    )
    def patch(self, request: Request, name: str) -> Response:
        """Every worker follows; with a version only if nobody changed the breaker since."""
        return self.edit(request, name, shapes.BreakerPatch, services.configure)

    @described(TAG, "Delete a breaker", "breakers_delete", None, None, [IF_MATCH, REASON], status=204)
    def delete(self, request: Request, name: str) -> Response:
        """One that no code uses any more; its history stays. Shipped ones cannot be deleted."""
        return self.remove(request, name, services.delete)


@listed(TAG, "List a breaker's transitions", "breakers_history")
class History(ListView[CircuitBreakerEvent]):
    """Every transition of one breaker, newest first."""

    serializer_class = shapes.BreakerTransition

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[CircuitBreakerEvent]:
        name = self.kwargs["name"]
        rows = CircuitBreakerEvent.objects.filter(breaker_id=name).order_by("-id")
        if not rows.exists():
            get_breaker(name)
        return rows


class _Act(_Breakers, ActView):
    """One thing that a person does to one breaker."""

    takes = Reasoned


@acted(TAG, "Force a breaker open", "breakers_open")
class Open(_Act):
    """Refuse every call until a person closes it; orders that only reduce a position still pass."""

    opens, does = True, staticmethod(services.force_open)


@acted(TAG, "Close a breaker", "breakers_close")
class Close(_Act):
    """Let calls pass from now on."""

    does = staticmethod(services.close)


@acted(TAG, "Reset a breaker", "breakers_reset")
class Reset(_Act):
    """Close it and forget its outcomes; calls under way no longer count."""

    does = staticmethod(services.reset)


@acted(TAG, "Let a breaker only measure", "breakers_metrics_only")
class MetricsOnly(_Act):
    """Every call passes; what it would have done is in its history. Refused for one that guards orders."""

    does = staticmethod(services.metrics_only)


@acted(TAG, "Let a breaker act again", "breakers_normal")
class Normal(_Act):
    """It acts by what it measures, from the state it stands in."""

    does = staticmethod(services.normal)


@posted(TAG, "Reset all breakers", "breakers_reset_all", shapes.ResetNames, Reasoned)
class ResetAll(ApiView):
    """All breakers at once."""

    @idempotent(atomic=False)
    def post(self, request: Request) -> Response:
        """Close every breaker and forget the outcomes."""
        reason = body(request, Reasoned)["reason"]
        guarded = CircuitBreaker.objects.filter(order_path=True).exists()
        demand(request, roles.for_breaker(order_path=guarded))
        return Response({"reset": services.reset_all(actor=actor(request), reason=reason)})
