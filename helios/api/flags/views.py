"""Flags over HTTP: reading, checking, changing. Every change goes the way of the services and keeps a history."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from helios import flags
from helios.api.flags import shapes
from helios.flags import references, roles, selectors, services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.flags.roles import Direction
from helios.flags.rows import Change
from helios.web.access import demand
from helios.web.base_views import ApiView, ListView, actor, body, no_query, query, seen_version, versioned
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, listed, posted
from helios.web.problems import InvalidQuery
from helios.web.shapes import Body, ReasonQuery

TAG: Final = ["feature-flags"]
_LOOKUPS: Final = {"enabled": "enabled", "strategy": "strategy", "owner": "owner"}
_FIELDS: Final = ("symbol", "strategy", "user", "system", "environment")
MAX_ATTRIBUTES: Final = 50


def shown(name: str, *, made: bool = False) -> Response:
    """The flag as it is now, with its version as ETag."""
    flag = selectors.get(name)
    return versioned(flag, shapes.FlagSerializer, made_at=f"/api/modularity/feature-flags/{name}" if made else "")


@listed(TAG, "List flags", "flags_list")
class FlagList(ListView[FeatureFlag]):
    """All flags, by name."""

    model = FeatureFlag
    serializer_class = shapes.FlagSerializer
    filters = shapes.FlagFilter
    lookups: ClassVar = _LOOKUPS

    def rows(self, wanted: dict[str, Any]) -> QuerySet[FeatureFlag]:
        rows = FeatureFlag.objects.order_by("name")
        if "search" in wanted:
            rows = rows.filter(Q(name__icontains=wanted["search"]) | Q(description__icontains=wanted["search"]))
        return rows

    @extend_schema(
        tags=TAG,
        summary="Make a flag",
        operation_id="flags_create",
        request=shapes.NewFlag,
        responses={201: shapes.FlagSerializer},
    )
    @idempotent()
    def post(self, request: Request) -> Response:
        """A new flag, disabled unless `enabled` says otherwise."""
        no_query(request)
        wanted = body(request, shapes.NewFlag)
        name, reason = wanted.pop("name"), wanted.pop("reason")
        _demand(request, name, Direction.OTHER)
        services.create(name, wanted, actor=actor(request), reason=reason)
        return shown(name, made=True)


class FlagDetail(ApiView):
    """One flag."""

    @extend_schema(tags=TAG, summary="Read a flag", operation_id="flags_read", responses=shapes.FlagDetailSerializer)
    def get(self, request: Request, name: str) -> Response:
        """How the flag is evaluated, and its last changes."""
        no_query(request)
        flag = selectors.get(name)
        return versioned(flag, shapes.FlagDetailSerializer)

    @extend_schema(
        tags=TAG,
        summary="Change fields of a flag",
        operation_id="flags_edit",
        parameters=[IF_MATCH],
        request=shapes.FlagPatch,
        responses=shapes.FlagSerializer,
    )
    def patch(self, request: Request, name: str) -> Response:
        """Set several fields at once; with a version only if nobody changed the flag since."""
        no_query(request)
        wanted = body(request, shapes.FlagPatch)
        reason, version = wanted.pop("reason"), seen_version(request, wanted.pop("version", None))
        selectors.get(name)
        _demand(request, name, roles.direction_of(wanted, enabled=bool(wanted.get("enabled"))))
        services.edit(name, wanted, actor=actor(request), reason=reason, version=version)
        return shown(name)

    @extend_schema(
        tags=TAG,
        summary="Archive a flag",
        operation_id="flags_archive",
        parameters=[IF_MATCH, OpenApiParameter("reason", str)],
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request, name: str) -> Response:
        """Take the flag away; its history stays, and `restore` brings it back. Flags of the catalogue stay."""
        wanted = query(request, ReasonQuery)
        selectors.get(name)
        _demand(request, name, Direction.OTHER)
        services.archive(name, actor=actor(request), reason=wanted["reason"], version=seen_version(request, None))
        return Response(status=HTTPStatus.NO_CONTENT)


@listed(TAG, "List a flag's changes", "flags_history")
class FlagHistory(ListView[FeatureFlagHistory]):
    """Every change of one flag, newest first; that of an archived flag as well."""

    model = FeatureFlagHistory
    serializer_class = shapes.FlagChange

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[FeatureFlagHistory]:
        rows = FeatureFlagHistory.objects.filter(flag_id=self.kwargs.get("name", ""))
        if not getattr(self, "swagger_fake_view", False) and not rows.exists():
            selectors.get(self.kwargs["name"])
        return rows.order_by("-id")


class FlagCheck(ApiView):
    """What code would be answered."""

    @extend_schema(
        tags=TAG,
        summary="Evaluate a flag",
        operation_id="flags_check",
        parameters=[shapes.CheckQuery],
        responses=shapes.FlagCheck,
    )
    def get(self, request: Request, name: str) -> Response:
        """The answer for a context, its reason and the variant. Parameters of other names are attributes."""
        context = _context(request)
        selectors.get(name)
        flags.refresh_if_behind()
        decision = flags.explain(name, context)
        answer = {
            "name": name,
            "enabled": decision.enabled,
            "reason": str(decision.reason),
            "variant": flags.variant(name, context).to_json(),
            "generation": flags.snapshot().generation,
            "status": flags.snapshot().status,
        }
        return Response(answer)


def _demand(request: Request, name: str, direction: Direction) -> None:
    demand(request, roles.for_flag(name, direction, references.steered_by_flag(name)))


def _context(request: Request) -> flags.FlagContext:
    given = dict(request.query_params.items())
    read = shapes.CheckQuery(data={name: value for name, value in given.items() if name in _FIELDS})
    if not read.is_valid():
        raise InvalidQuery(read.errors)
    attributes = {name: value for name, value in given.items() if name not in _FIELDS}
    if len(attributes) > MAX_ATTRIBUTES:
        raise exceptions.ParseError(f"a context must have at most {MAX_ATTRIBUTES} attributes, had {len(attributes)}")
    fields = {"environment": settings.ENVIRONMENT, **read.validated_data}
    return flags.FlagContext(**fields, attributes=attributes)


class _Turned(ApiView):
    """A change of one flag: the body's shape, which way it turns, and the service that does it."""

    shape: ClassVar[type[Body]] = shapes.Versioned
    direction: ClassVar[Direction] = Direction.OTHER
    service: ClassVar[Callable[..., Change]]  # takes the fields of the body by their names

    def change(self, request: Request, name: str, wanted: dict[str, Any]) -> Response:
        selectors.get(name)
        _demand(request, name, self.direction)
        version = seen_version(request, wanted.pop("version", None))
        type(self).service(name, actor=actor(request), version=version, **wanted)
        return shown(name)


class _ByPath(_Turned):
    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        no_query(request)
        return self.change(request, name, body(request, self.shape))


class _ByBody(_Turned):
    shape: ClassVar[type[Body]] = shapes.NamedVersioned

    @idempotent()
    def post(self, request: Request) -> Response:
        wanted = body(request, self.shape)
        asked = query(request, shapes.NameQuery).get("name")
        name = wanted.pop("name", None) or asked
        if name is None:
            raise exceptions.ValidationError({"name": ["must be in the body or in the address, was in neither"]})
        if asked is not None and asked != name:
            raise InvalidQuery({"name": [f"must be the body's name where both are given, was {asked!r}"]})
        return self.change(request, name, wanted)


class _Enable(_Turned):
    direction = Direction.ON
    service = staticmethod(services.enable)


class _Disable(_Turned):
    direction = Direction.OFF
    service = staticmethod(services.disable)


class _Percentage(_Turned):
    service = staticmethod(services.set_percentage)


def _documented(summary: str, identity: str, shape: type[Body], *, named: bool = False) -> Any:
    parameters: list[Any] = [IF_MATCH, shapes.NameQuery] if named else [IF_MATCH]
    return posted(TAG, summary, identity, shape, shapes.FlagSerializer, parameters=parameters)


@_documented("Enable a flag", "flags_enable", shapes.Versioned)
class FlagEnable(_Enable, _ByPath):
    """Serve whom the strategy names; a killed flag comes back."""


@_documented("Disable a flag", "flags_disable", shapes.Versioned)
class FlagDisable(_Disable, _ByPath):
    """Off for everybody; the strategy stays, and waits."""


@_documented("Serve a percentage", "flags_percentage", shapes.Share)
class FlagPercentage(_Percentage, _ByPath):
    """Serve this share of sticky ids. Does not enable a disabled flag."""

    shape = shapes.Share


@_documented("Kill a flag", "flags_kill", shapes.Versioned)
class FlagKill(_ByPath):
    """Off for everybody at once, and held off until somebody enables it."""

    direction = Direction.OFF
    service = staticmethod(services.kill)


@_documented("Add to the whitelist", "flags_whitelist_add", shapes.Entries)
class WhitelistAdd(_ByPath):
    """The list acts under the strategy `whitelist` only."""

    shape = shapes.Entries
    service = staticmethod(services.whitelist_add)


@_documented("Take off the whitelist", "flags_whitelist_remove", shapes.Entries)
class WhitelistRemove(_ByPath):
    """An entry that is not on it is refused: it is most likely misspelt."""

    shape = shapes.Entries
    service = staticmethod(services.whitelist_remove)


@_documented("Enable the named flag", "flags_enable_named", shapes.NamedVersioned, named=True)
class FlagEnableNamed(_Enable, _ByBody):
    """As `feature-flags/{name}/enable`, with the name in the body or in the address."""


@_documented("Disable the named flag", "flags_disable_named", shapes.NamedVersioned, named=True)
class FlagDisableNamed(_Disable, _ByBody):
    """As `feature-flags/{name}/disable`, with the name in the body or in the address."""


@_documented("Serve a percentage of the named flag", "flags_percentage_named", shapes.NamedShare, named=True)
class FlagPercentageNamed(_Percentage, _ByBody):
    """As `feature-flags/{name}/percentage`, with the name in the body or in the address."""

    shape = shapes.NamedShare


@_documented("Bring a flag back", "flags_restore", shapes.Restored)
class FlagRestore(ApiView):
    """An archived flag as it last was, or any flag as it was after one change of its history."""

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        no_query(request)
        wanted = body(request, shapes.Restored)
        version = seen_version(request, wanted.get("version"))
        _demand(request, name, Direction.OTHER)
        services.restore(name, wanted.get("entry"), actor=actor(request), reason=wanted["reason"], version=version)
        return shown(name)
