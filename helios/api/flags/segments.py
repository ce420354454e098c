"""Segments and stale flags over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.flags import shapes
from helios.flags import references, roles, segments, selectors, stale
from helios.flags.models import FlagSegment
from helios.web.access import demand
from helios.web.base_views import ApiView, ListView, actor, body, no_query, query, seen_version, versioned
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, listed
from helios.web.roles import Role
from helios.web.shapes import Query, ReasonQuery

TAG: Final = ["segments"]


def shown(name: str, *, made: bool = False) -> Response:
    """The segment as it is now, with its version as ETag."""
    segment = selectors.get_segment(name)
    return versioned(segment, shapes.SegmentSerializer, made_at=f"/api/modularity/segments/{name}" if made else "")


def role_for(name: str) -> Role:
    """A segment that a flag of the money uses, itself, in a rule or through a prerequisite, is a trader's."""
    return roles.for_segment(references.steered_by_segment(name))


@listed(TAG, "List segments", "segments_list")
class SegmentList(ListView[FlagSegment]):
    """All segments, by name."""

    model = FlagSegment
    serializer_class = shapes.SegmentSerializer
    filters = shapes.SegmentFilter

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[FlagSegment]:
        return FlagSegment.objects.order_by("name")

    @extend_schema(
        tags=TAG,
        summary="Make a segment",
        operation_id="segments_create",
        request=shapes.NewSegment,
        responses={201: shapes.SegmentSerializer},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """Constraints under a name, for flags to share."""
        no_query(request)
        wanted = body(request, shapes.NewSegment)
        name, reason = wanted.pop("name"), wanted.pop("reason")
        segments.create(name, wanted, actor=actor(request), reason=reason)
        return shown(name, made=True)


class SegmentDetail(ApiView):
    """One segment."""

    @extend_schema(tags=TAG, summary="Read a segment", operation_id="segments_read", responses=shapes.SegmentSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Its constraints, all of which must hold."""
        no_query(request)
        return shown(name)

    @extend_schema(
        tags=TAG,
        summary="Change a segment",
        operation_id="segments_edit",
        parameters=[IF_MATCH],
        request=shapes.SegmentPatch,
        responses=shapes.SegmentSerializer,
    )
    def patch(self, request: Request, name: str) -> Response:
        """Reaches every flag that uses it."""
        no_query(request)
        wanted = body(request, shapes.SegmentPatch)
        reason, version = wanted.pop("reason"), seen_version(request, wanted.pop("version", None))
        selectors.get_segment(name)
        demand(request, role_for(name))
        segments.edit(name, wanted, actor=actor(request), reason=reason, version=version)
        return shown(name)

    @extend_schema(
        tags=TAG,
        summary="Remove a segment",
        operation_id="segments_remove",
        parameters=[IF_MATCH, OpenApiParameter("reason", str)],
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        """Refused while a flag uses it."""
        wanted = query(request, ReasonQuery)
        selectors.get_segment(name)
        demand(request, role_for(name))
        segments.remove(name, actor=actor(request), reason=wanted["reason"], version=seen_version(request, None))
        return Response(status=HTTPStatus.NO_CONTENT)


class StaleQuery(Query):
    """From how many days of standing still on a flag is reported."""

    days = serializers.IntegerField(required=False, default=stale.DEFAULT_DAYS, min_value=1, max_value=3650)


class StaleFlag(serializers.Serializer[Any]):
    """One flag and one reason to look at it."""

    name = serializers.CharField()
    reason = serializers.CharField()
    owner = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField(allow_null=True)
    days = serializers.IntegerField()
    action = serializers.CharField(help_text="what to do about it")


class StaleReport(serializers.Serializer[Any]):
    days = serializers.IntegerField()
    flags = StaleFlag(many=True)


class Stale(ApiView):
    """Flags that have done their work, or were forgotten."""

    @extend_schema(
        tags=["feature-flags"],
        summary="Report stale flags",
        operation_id="flags_stale",
        parameters=[StaleQuery],
        responses=StaleReport,
    )
    def get(self, request: Request) -> Response:
        """Expired, unchanged for long, killed for long, or asked for and missing; with what to do."""
        days = query(request, StaleQuery)["days"]
        return Response({"days": days, "flags": [each.plain() for each in stale.report(days=days)]})
