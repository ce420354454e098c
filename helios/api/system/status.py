"""The control plane at a glance."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from helios import flags
from helios.breakers import selectors as breakers
from helios.flags.models import FeatureFlag
from helios.modules.models import OPEN_SWAPS, Module, ModuleSwap
from helios.rollouts.core.machine import LIVE
from helios.rollouts.models import Rollout
from helios.web.access import role_of
from helios.web.base_views import ApiView
from helios.web.openapi import described
from helios.web.roles import Role


class ControlPlaneStatus(serializers.Serializer[Any]):
    """Counts that tell at a glance whether anything is off its default path."""

    flags_on = serializers.IntegerField()
    flags_off = serializers.IntegerField()
    flags_killed = serializers.IntegerField()
    flag_generation = serializers.IntegerField()
    flags_stale = serializers.BooleanField(help_text="Redis or the database is away: a newer state may exist")
    breakers = serializers.DictField(child=serializers.IntegerField(), help_text="number of breakers by state")
    modules = serializers.DictField(child=serializers.IntegerField(), help_text="number of modules by state")
    swaps_open = serializers.IntegerField()
    rollouts = serializers.DictField(child=serializers.IntegerField(), help_text="number of live rollouts by state")
    role = serializers.ChoiceField(choices=[role.label for role in Role], help_text="yours")
    now = serializers.DateTimeField()


class StatusView(ApiView):
    """Flags, breakers, modules and rollouts in counts."""

    @described("modularity", "Count what stands where", "status", ControlPlaneStatus)
    def get(self, request: Request) -> Response:
        """How many flags are on, and how many breakers, modules and rollouts stand in which state."""
        flags.refresh_if_behind()
        enabled = Counter(FeatureFlag.objects.values_list("enabled", flat=True))
        role = role_of(request.user)
        body = {
            "flags_on": enabled[True],
            "flags_off": enabled[False],
            "flags_killed": FeatureFlag.objects.filter(strategy="kill_switch").count(),
            "flag_generation": flags.snapshot().generation,
            "flags_stale": flags.snapshot().stale,
            "breakers": Counter(each.state for each in breakers.statuses()),
            "modules": Counter(Module.objects.values_list("state", flat=True)),
            "swaps_open": ModuleSwap.objects.filter(state__in=OPEN_SWAPS).count(),
            "rollouts": Counter(Rollout.objects.filter(state__in=LIVE).values_list("state", flat=True)),
            "role": role.label if role else "",
            "now": timezone.now(),
        }
        return Response(ControlPlaneStatus(body).data)
