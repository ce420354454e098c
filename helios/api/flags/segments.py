"""Segments and stale flags over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.flags import shapes
from helios.flags import references, roles, segments, selectors, stale
from helios.flags.models import FlagSegment
from helios.web.base_views import ApiView, ListView, VersionedView, query
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, REASON, described, listed
from helios.web.roles import Role
from helios.web.shapes import Query

TAG: Final = "segments"


class _Segments(VersionedView):
    serializer_class: Any = shapes.SegmentSerializer
    address = "/api/modularity/segments"
    find = staticmethod(selectors.get_segment)

    def needed(self, name: str, row: FlagSegment | None, _wanted: Mapping[str, Any]) -> Role | None:
        """A segment that a flag of the money uses, itself, in a rule or through a prerequisite, is a trader's."""
        return roles.for_segment(references.steered_by_segment(name)) if row else None


@listed(TAG, "List segments", "segments_list")
class SegmentList(_Segments, ListView[FlagSegment]):
    """All segments, by name."""

    filters = shapes.SegmentFilter

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[FlagSegment]:
        return FlagSegment.objects.order_by("name")

    @described(TAG, "Make a segment", "segments_create", shapes.SegmentSerializer, shapes.NewSegment, status=201)
    @idempotent()
    def post(self, request: Request) -> Response:
        """Constraints under a name, for flags to share."""
        return self.create(request, shapes.NewSegment, segments.create)


class SegmentDetail(_Segments):
    """One segment."""

    @described(TAG, "Read a segment", "segments_read", shapes.SegmentSerializer)
    def get(self, _request: Request, name: str) -> Response:
        """Its constraints, all of which must hold."""
        return self.shown(name)

    @described(TAG, "Change a segment", "segments_edit", shapes.SegmentSerializer, shapes.SegmentPatch, [IF_MATCH])
    def patch(self, request: Request, name: str) -> Response:
        """Reaches every flag that uses it."""
        return self.edit(request, name, shapes.SegmentPatch, segments.edit)

    @described(TAG, "Remove a segment", "segments_remove", None, None, [IF_MATCH, REASON], status=204)
    def delete(self, request: Request, name: str) -> Response:
        """Refused while a flag uses it."""
        return self.remove(request, name, segments.remove)


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

    reads_query = True

    @described("feature-flags", "Report stale flags", "flags_stale", StaleReport, None, [StaleQuery])
    def get(self, request: Request) -> Response:
        """Expired, unchanged for long, killed for long, or asked for and missing; with what to do."""
        days = query(request, StaleQuery)["days"]
        return Response({"days": days, "flags": [each.plain() for each in stale.report(days=days)]})
