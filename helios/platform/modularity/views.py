"""What the control plane looks like now. Every view reads; the tables' own services write."""

from __future__ import annotations

from collections import Counter

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from helios import flags
from helios.breakers import services as breakers
from helios.breakers.models import CircuitBreaker
from helios.flags.models import FeatureFlag
from helios.modules.models import Module
from helios.platform.modularity.serializers import (
    BreakerDetailSerializer,
    BreakerSerializer,
    ControlPlaneStatus,
    FlagDetailSerializer,
    FlagSerializer,
    ModuleSerializer,
    ModuleStatusSerializer,
)


class StatusView(APIView):
    """Flags, breakers and modules in counts."""

    @extend_schema(responses=ControlPlaneStatus, tags=["modularity"], summary="Count flags, breakers, modules")
    def get(self, _request: Request) -> Response:
        """How many flags are on, and how many breakers and modules stand in which state."""
        enabled = Counter(FeatureFlag.objects.values_list("enabled", flat=True))
        body = {
            "flags_on": enabled[True],
            "flags_off": enabled[False],
            "flag_generation": flags.snapshot().generation,
            "breakers": Counter(breakers.status(row).state for row in CircuitBreaker.objects.all()),
            "modules": Counter(Module.objects.values_list("state", flat=True)),
            "now": timezone.now(),
        }
        return Response(ControlPlaneStatus(body).data)


@extend_schema(tags=["feature-flags"], summary="List flags")
class FlagList(ListAPIView[FeatureFlag]):
    """All flags, by name."""

    serializer_class = FlagSerializer

    def get_queryset(self) -> QuerySet[FeatureFlag]:
        return FeatureFlag.objects.order_by("name")


@extend_schema(tags=["feature-flags"], summary="Read a flag")
class FlagDetail(RetrieveAPIView[FeatureFlag]):
    """One flag with its last changes."""

    serializer_class = FlagDetailSerializer
    lookup_field = "name"
    queryset = FeatureFlag.objects.all()


@extend_schema(tags=["circuit-breakers"], summary="List breakers")
class BreakerList(ListAPIView[CircuitBreaker]):
    """All breakers with the state that all workers share."""

    serializer_class = BreakerSerializer

    def get_queryset(self) -> QuerySet[CircuitBreaker]:
        return CircuitBreaker.objects.order_by("name")


@extend_schema(tags=["circuit-breakers"], summary="Read a breaker")
class BreakerDetail(RetrieveAPIView[CircuitBreaker]):
    """One breaker with its last transitions."""

    serializer_class = BreakerDetailSerializer
    lookup_field = "name"
    queryset = CircuitBreaker.objects.all()


@extend_schema(tags=["modules"], summary="List modules")
class ModuleList(ListAPIView[Module]):
    """All modules, by name."""

    serializer_class = ModuleSerializer

    def get_queryset(self) -> QuerySet[Module]:
        return Module.objects.order_by("name")


@extend_schema(tags=["modules"], summary="Read a module's status")
class ModuleStatus(RetrieveAPIView[Module]):
    """Whether one module is in use, what failed, and who needs it."""

    serializer_class = ModuleStatusSerializer
    lookup_field = "name"
    queryset = Module.objects.all()
