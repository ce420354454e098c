"""Breakers over HTTP: reading, setting, forcing open and closing."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.breakers import shapes
from helios.breakers import roles, services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.errors import Conflict
from helios.web.access import demand
from helios.web.base_views import ApiView, ListView, actor, body, narrowed, no_query, query, seen_version, unknown
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH
from helios.web.shapes import Reasoned, ReasonQuery

TAG: Final = ["circuit-breakers"]
_LOOKUPS: Final = {"order_path": "order_path", "mode": "mode"}


def found(name: str) -> CircuitBreaker:
    """The breaker, or 404 with the nearest name."""
    row = CircuitBreaker.objects.filter(name=name).first()
    if row is None:
        raise unknown("circuit breaker", name, CircuitBreaker.objects.values_list("name", flat=True))
    return row


def shown(name: str, *, status: int = HTTPStatus.OK) -> Response:
    """The breaker as it stands now, with its version as ETag."""
    row = found(name)
    headers = {"ETag": f'"{row.version}"'}
    if status == HTTPStatus.CREATED:
        headers["Location"] = f"/api/modularity/circuit-breakers/{name}"
    return Response(shapes.BreakerSerializer(row).data, status=status, headers=headers)


class BreakerList(ListView[CircuitBreaker]):
    """All breakers with the state that all workers share."""

    serializer_class = shapes.BreakerSerializer
    filters = shapes.BreakerFilter

    def get_queryset(self) -> QuerySet[CircuitBreaker]:
        return narrowed(CircuitBreaker.objects.order_by("name"), self.wanted(), _LOOKUPS)

    @extend_schema(tags=TAG, summary="List breakers", operation_id="breakers_list", parameters=[shapes.BreakerFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

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
        return shown(name, status=HTTPStatus.CREATED)


class BreakerDetail(ApiView):
    """One breaker."""

    @extend_schema(
        tags=TAG, summary="Read a breaker", operation_id="breakers_read", responses=shapes.BreakerDetailSerializer
    )
    def get(self, request: Request, name: str) -> Response:
        """How it is set, where it stands, and its last transitions."""
        no_query(request)
        row = found(name)
        return Response(shapes.BreakerDetailSerializer(row).data, headers={"ETag": f'"{row.version}"'})

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


class History(ListView[CircuitBreakerEvent]):
    """Every transition of one breaker, newest first."""

    serializer_class = shapes.BreakerTransition

    def get_queryset(self) -> QuerySet[CircuitBreakerEvent]:
        self.wanted()
        if getattr(self, "swagger_fake_view", False):
            return CircuitBreakerEvent.objects.none()
        name = self.kwargs["name"]
        rows = CircuitBreakerEvent.objects.filter(breaker_id=name).order_by("-id")
        if not rows.exists():
            found(name)
        return rows

    @extend_schema(tags=TAG, summary="List a breaker's transitions", operation_id="breakers_history")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


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


def _documented(summary: str, identity: str) -> Any:
    said = extend_schema(
        tags=TAG,
        summary=summary,
        operation_id=identity,
        request=Reasoned,
        responses={200: shapes.BreakerSerializer},
    )
    return extend_schema_view(post=said)


@_documented("Force a breaker open", "breakers_open")
class Open(_Act):
    """Refuse every call until a person closes it; orders that only reduce a position still pass."""

    opens = True

    service = staticmethod(services.force_open)


@_documented("Close a breaker", "breakers_close")
class Close(_Act):
    """Let calls pass from now on."""

    service = staticmethod(services.close)


@_documented("Reset a breaker", "breakers_reset")
class Reset(_Act):
    """Close it and forget its outcomes; calls under way no longer count."""

    service = staticmethod(services.reset)


@_documented("Let a breaker only measure", "breakers_metrics_only")
class MetricsOnly(_Act):
    """Every call passes; what it would have done is in its history. Refused for one that guards orders."""

    service = staticmethod(services.metrics_only)


@_documented("Let a breaker act again", "breakers_normal")
class Normal(_Act):
    """It acts by what it measures, from the state it stands in."""

    service = staticmethod(services.normal)


class ResetAll(ApiView):
    """All breakers at once."""

    @extend_schema(
        tags=TAG,
        summary="Reset all breakers",
        operation_id="breakers_reset_all",
        request=Reasoned,
        responses={200: shapes.ResetNames},
    )
    @idempotent(atomic=False)
    def post(self, request: Request) -> Response:
        """Close every breaker and forget the outcomes."""
        no_query(request)
        reason = body(request, Reasoned)["reason"]
        guarded = CircuitBreaker.objects.filter(order_path=True).exists()
        demand(request, roles.for_breaker(order_path=guarded))
        return Response({"reset": services.reset_all(actor=actor(request), reason=reason)})
