"""Rollouts over HTTP: plan, start, watch, and end them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from loguru import logger
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.rollouts import shapes
from helios.errors import HeliosError
from helios.rollouts import providers, selectors, services
from helios.rollouts.core.arm_summary import arm_numbers
from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.machine import LIVE, SERVING
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from helios.web.base_views import ApiView, ListView, actor, body, no_query, seen_version, versioned
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, listed, posted
from helios.web.problems import Unprocessable
from helios.web.shapes import Body

TAG: Final = ["rollouts"]
_LOOKUPS: Final = {"state": "state", "kind": "kind", "target": "target", "name": "name"}
_MAX_NUMBER: Final = 18  # digits


def found(name: str) -> Rollout:
    """The live rollout of that name, else the latest; or the one with that number."""
    number = name.isdecimal() and len(name) <= _MAX_NUMBER
    return selectors.get(int(name) if number else name)


def shown(row: Rollout, *, made: bool = False) -> Response:
    """The rollout as it is now, with its version as ETag."""
    row.refresh_from_db()
    return versioned(row, shapes.RolloutSerializer, made_at=f"/api/modularity/rollouts/{row.name}" if made else "")


@listed(TAG, "List rollouts", "rollouts_list")
class RolloutList(ListView[Rollout]):
    """All rollouts, newest first."""

    model = Rollout
    serializer_class = shapes.RolloutSerializer
    filters = shapes.RolloutFilter
    lookups: ClassVar = _LOOKUPS

    def rows(self, wanted: dict[str, Any]) -> QuerySet[Rollout]:
        rows = Rollout.objects.order_by("-id")
        if "live" in wanted:
            rows = rows.filter(state__in=LIVE) if wanted["live"] else rows.exclude(state__in=LIVE)
        return rows

    @extend_schema(
        tags=TAG,
        summary="Plan a rollout",
        operation_id="rollouts_create",
        request=shapes.NewRollout,
        responses={201: shapes.RolloutSerializer},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """PENDING until it is started; one live rollout a target."""
        no_query(request)
        wanted = body(request, shapes.NewRollout)
        row = services.create(wanted.pop("name"), actor=actor(request), **wanted)
        return shown(row, made=True)


class RolloutDetail(ApiView):
    """One rollout."""

    @extend_schema(tags=TAG, summary="Read a rollout", operation_id="rollouts_read", responses=shapes.RolloutSerializer)
    def get(self, request: Request, name: str) -> Response:
        """The live one of that name, else the latest; a number names any."""
        no_query(request)
        return shown(found(name))


@listed(TAG, "List a rollout's analyses", "rollouts_analyses")
class Analyses(ListView[RolloutAnalysis]):
    """What each interval came to, newest first."""

    model = RolloutAnalysis
    serializer_class = shapes.Analysis

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[RolloutAnalysis]:
        return found(self.kwargs["name"]).analyses.order_by("-id")


@listed(TAG, "List a rollout's moves", "rollouts_history")
class History(ListView[RolloutEvent]):
    """Every move, newest first."""

    model = RolloutEvent
    serializer_class = shapes.RolloutMove

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[RolloutEvent]:
        return found(self.kwargs["name"]).history.order_by("-id")


class Statistics(ApiView):
    """The two arms beside each other."""

    @extend_schema(
        tags=TAG,
        summary="Compare the arms",
        operation_id="rollouts_statistics",
        responses=shapes.Statistics,
    )
    def get(self, request: Request, name: str) -> Response:
        """From the decisions of the present step; in a replay, or once it has ended, from the last analysis."""
        no_query(request)
        row = found(name)
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
    kept = last.numbers.get("arms") if last else None
    return ("analysis", dict(kept)) if kept else ("none", {})


def _measured(row: Rollout) -> dict[str, Any]:
    try:
        return arm_numbers(providers.measure(row))
    except HeliosError:
        raise
    except Exception as error:
        logger.bind(rollout=row.name, error=repr(error)).exception("rollouts.measures_failed")
        raise Unprocessable(f"the measures of {row.name} cannot be read: {type(error).__name__}") from error


class _Move(ApiView):
    """One move of a rollout by a person."""

    shape: ClassVar[type[Body]] = shapes.Move
    service: ClassVar[Callable[..., Rollout]]

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        no_query(request)
        wanted = body(request, self.shape)
        seen = seen_version(request, wanted.pop("version", None))
        row = found(name)
        return shown(type(self).service(row.pk, actor=actor(request), version=seen, **wanted))


@posted(TAG, "Start a rollout", "rollouts_start", shapes.Move, shapes.RolloutSerializer, parameters=[IF_MATCH])
class Start(_Move):
    """Begin with the first step; the steps follow each other by themselves."""

    service = staticmethod(services.start)


@posted(TAG, "Pause a rollout", "rollouts_pause", shapes.Move, shapes.RolloutSerializer, parameters=[IF_MATCH])
class Pause(_Move):
    """Stay at this step; hard guards go on watching."""

    service = staticmethod(services.pause)


@posted(TAG, "Resume a rollout", "rollouts_resume", shapes.Move, shapes.RolloutSerializer, parameters=[IF_MATCH])
class Resume(_Move):
    """Go on with the step."""

    service = staticmethod(services.resume)


@posted(TAG, "Promote a rollout", "rollouts_promote", shapes.Promotion, shapes.RolloutSerializer, parameters=[IF_MATCH])
class Promote(_Move):
    """Take the next step without an analysis; at the last one, or with `full`, the challenger gets the place."""

    shape = shapes.Promotion
    service = staticmethod(services.promote)


@posted(TAG, "Abort a rollout", "rollouts_abort", shapes.Move, shapes.RolloutSerializer, parameters=[IF_MATCH])
class Abort(_Move):
    """End it: the champion serves every symbol from the next cycle on."""

    service = staticmethod(services.abort)
