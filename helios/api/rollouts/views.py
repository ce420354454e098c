"""Rollouts over HTTP: plan, start, watch, and end them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from loguru import logger
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.rollouts import shapes
from helios.entries import whole
from helios.errors import HeliosError, kind_of, plain
from helios.rollouts import providers, selectors, services
from helios.rollouts.comparison import kept_arms
from helios.rollouts.core.arm_summary import arm_numbers
from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.machine import LIVE, SERVING
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from helios.web.base_views import ActView, ApiView, ListView, VersionedView
from helios.web.idempotency import idempotent
from helios.web.openapi import acted, described, listed
from helios.web.problems import Unprocessable

TAG: Final = "rollouts"


def get_rollout(name: str | int) -> Rollout:
    """The live rollout of that name, else the latest; or the one with that number."""
    number = whole(str(name))
    return selectors.get(name if number is None else number)


def get_seen_rollout(name: str | int) -> Rollout:
    """The one with that number, or the only one of that name: who puts code in charge names what they saw."""
    number = whole(str(name))
    return selectors.get(str(name) if number is None else number, only=True)


class _Rollouts(VersionedView):
    serializer_class: Any = shapes.RolloutSerializer
    address = "/api/modularity/rollouts"
    find = staticmethod(get_rollout)
    key = "pk"

    def tag(self, row: Any) -> str:
        """With its number: a name that an ended one gave back is soon that of another, at the same version."""
        return f'"{row.pk}-{row.version}"'


def _create(name: str, fields: Mapping[str, Any], **by: Any) -> None:
    services.create(name, **fields, **by)


@listed(TAG, "List rollouts", "rollouts_list")
class RolloutList(_Rollouts, ListView[Rollout]):
    """All rollouts, newest first."""

    filters = shapes.RolloutFilter
    lookups: ClassVar = {"state": "state", "kind": "kind", "target": "target", "name": "name"}

    def rows(self, wanted: dict[str, Any]) -> QuerySet[Rollout]:
        rows = Rollout.objects.order_by("-id")
        if "live" in wanted:
            rows = rows.filter(state__in=LIVE) if wanted["live"] else rows.exclude(state__in=LIVE)
        return rows

    @described(TAG, "Plan a rollout", "rollouts_create", shapes.RolloutSerializer, shapes.NewRollout, status=201)
    @idempotent()
    def post(self, request: Request) -> Response:
        """PENDING until it is started; one live rollout a target."""
        return self.create(request, shapes.NewRollout, _create)


class RolloutDetail(_Rollouts):
    """One rollout."""

    @described(TAG, "Read a rollout", "rollouts_read", shapes.RolloutSerializer)
    def get(self, _request: Request, name: str) -> Response:
        """The live one of that name, else the latest; a number names any."""
        return self.shown(name)


@listed(TAG, "List a rollout's analyses", "rollouts_analyses")
class Analyses(ListView[RolloutAnalysis]):
    """What each interval came to, newest first."""

    serializer_class = shapes.Analysis

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[RolloutAnalysis]:
        return get_rollout(self.kwargs["name"]).analyses.order_by("-id")


@listed(TAG, "List a rollout's moves", "rollouts_history")
class History(ListView[RolloutEvent]):
    """Every move, newest first."""

    serializer_class = shapes.RolloutMove

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[RolloutEvent]:
        return get_rollout(self.kwargs["name"]).history.order_by("-id")


class Statistics(ApiView):
    """The two arms beside each other."""

    @described(TAG, "Compare the arms", "rollouts_statistics", shapes.Statistics)
    def get(self, _request: Request, name: str) -> Response:
        """From the decisions of the present step; in a replay, or once it has ended, from the last analysis."""
        row = get_rollout(name)
        step = selectors.step_of(row)
        source, numbers = _numbers(row)
        answer = {
            "rollout": row.name,
            "step": row.step,
            "serves": step.serves,
            "since": row.measured_since,
            "source": source,
            **{arm: numbers.get(arm) for arm in ("champion", "challenger", "difference")},
        }
        return Response(answer)


def _numbers(row: Rollout) -> tuple[str, dict[str, Any]]:
    if row.state in SERVING and selectors.step_of(row).kind is not Mode.REPLAY:
        return "decisions", _measured(row)
    last = row.analyses.order_by("-id").first()
    kept = kept_arms(last) if last else None
    return ("analysis", kept) if kept else ("none", {})


def _measured(row: Rollout) -> dict[str, Any]:
    try:
        return arm_numbers(providers.measure(row))
    except HeliosError:
        raise
    except Exception as error:
        logger.bind(rollout=row.name).opt(exception=plain(error)).error("rollouts.measures_failed")
        raise Unprocessable(f"the measures of {row.name} cannot be read: {kind_of(error)}") from error


class _Move(_Rollouts, ActView):
    """One move of a rollout by a person."""


class _Onward(_Move):
    """One that puts code in charge of more."""

    find = staticmethod(get_seen_rollout)


@acted(TAG, "Start a rollout", "rollouts_start")
class Start(_Onward):
    """Begin with the first step; the steps follow each other by themselves."""

    does = staticmethod(services.start)


@acted(TAG, "Pause a rollout", "rollouts_pause")
class Pause(_Move):
    """Stay at this step; hard guards go on watching."""

    does = staticmethod(services.pause)


@acted(TAG, "Resume a rollout", "rollouts_resume")
class Resume(_Onward):
    """Go on with the step."""

    does = staticmethod(services.resume)


@acted(TAG, "Promote a rollout", "rollouts_promote")
class Promote(_Onward):
    """Take the next step without an analysis; at the last one, or with `full`, the challenger gets the place."""

    takes, does = shapes.Promotion, staticmethod(services.promote)


@acted(TAG, "Abort a rollout", "rollouts_abort")
class Abort(_Move):
    """End it: the champion serves every symbol from the next cycle on."""

    does = staticmethod(services.abort)
