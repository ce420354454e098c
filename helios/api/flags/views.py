"""Flags over HTTP: reading, checking, changing. Every change goes the way of the services and keeps a history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import Q, QuerySet
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from helios import flags
from helios.api.flags import shapes
from helios.flags import references, roles, selectors, services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.flags.roles import Direction
from helios.web.access import demand
from helios.web.base_views import ActView, ApiView, ListView, VersionedView, actor, body, query, seen_version
from helios.web.idempotency import idempotent
from helios.web.openapi import IF_MATCH, REASON, acted, described, listed, posted
from helios.web.problems import InvalidQuery
from helios.web.roles import Role
from helios.web.shapes import Body, quoted

TAG: Final = "feature-flags"
_FIELDS: Final = ("symbol", "strategy", "user", "system", "environment")
MAX_ATTRIBUTES: Final = 50
MAX_VALUE: Final = 256  # letters, as a constraint compares


class _Flags(VersionedView):
    serializer_class: Any = shapes.FlagSerializer
    address = "/api/modularity/feature-flags"
    find = staticmethod(selectors.get)
    direction = Direction.OTHER

    def needed(self, name: str, _row: FeatureFlag | None, _wanted: Mapping[str, Any]) -> Role:
        return roles.for_flag(name, self.direction, references.steered_by_flag(name))


@listed(TAG, "List flags", "flags_list")
class FlagList(_Flags, ListView[FeatureFlag]):
    """All flags, by name."""

    filters = shapes.FlagFilter
    lookups: ClassVar = {"enabled": "enabled", "strategy": "strategy", "owner": "owner"}

    def rows(self, wanted: dict[str, Any]) -> QuerySet[FeatureFlag]:
        rows = FeatureFlag.objects.order_by("name")
        if "search" in wanted:
            rows = rows.filter(Q(name__icontains=wanted["search"]) | Q(description__icontains=wanted["search"]))
        return rows

    @described(TAG, "Make a flag", "flags_create", shapes.FlagSerializer, shapes.NewFlag, status=201)
    @idempotent()
    def post(self, request: Request) -> Response:
        """A new flag, disabled unless `enabled` says otherwise."""
        return self.create(request, shapes.NewFlag, services.create)


class FlagDetail(_Flags):
    """One flag."""

    def needed(self, name: str, row: FeatureFlag | None, wanted: Mapping[str, Any]) -> Role:
        if self.request.method == "PATCH":
            self.direction = roles.direction_of(wanted, enabled=bool(wanted.get("enabled")))
        return super().needed(name, row, wanted)

    @described(TAG, "Read a flag", "flags_read", shapes.FlagDetailSerializer)
    def get(self, _request: Request, name: str) -> Response:
        """How the flag is evaluated, and its last changes."""
        return self.shown(name, shapes.FlagDetailSerializer)

    @described(TAG, "Change fields of a flag", "flags_edit", shapes.FlagSerializer, shapes.FlagPatch, [IF_MATCH])
    def patch(self, request: Request, name: str) -> Response:
        """Set several fields at once; with a version only if nobody changed the flag since."""
        return self.edit(request, name, shapes.FlagPatch, services.edit)

    @described(TAG, "Archive a flag", "flags_archive", None, None, [IF_MATCH, REASON], status=204)
    def delete(self, request: Request, name: str) -> Response:
        """Take the flag away; its history stays, and `restore` brings it back. Flags of the catalogue stay."""
        return self.remove(request, name, services.archive)


@listed(TAG, "List a flag's changes", "flags_history")
class FlagHistory(ListView[FeatureFlagHistory]):
    """Every change of one flag, newest first; that of an archived flag as well."""

    serializer_class = shapes.FlagChange

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[FeatureFlagHistory]:
        name = self.kwargs["name"]
        rows = FeatureFlagHistory.objects.filter(flag_id=name).order_by("-id")
        if not rows.exists():
            selectors.get(name)
        return rows


class FlagCheck(ApiView):
    """What code would be answered."""

    reads_query = True

    @described(TAG, "Evaluate a flag", "flags_check", shapes.FlagCheck, None, [shapes.CheckQuery])
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


def _context(request: Request) -> flags.FlagContext:
    given = dict(request.query_params.items())
    read = shapes.CheckQuery(data={name: value for name, value in given.items() if name in _FIELDS})
    if not read.is_valid():
        raise InvalidQuery(read.errors)
    attributes = {name: value for name, value in given.items() if name not in _FIELDS}
    if len(attributes) > MAX_ATTRIBUTES:
        raise exceptions.ParseError(f"a context must have at most {MAX_ATTRIBUTES} attributes, had {len(attributes)}")
    long = next((name for name, value in attributes.items() if len(value) > MAX_VALUE), None)
    if long is not None:
        raise exceptions.ParseError(f"an attribute must have at most {MAX_VALUE} letters, {quoted(long)} had more")
    fields = {"environment": settings.ENVIRONMENT, **read.validated_data}
    return flags.FlagContext(**fields, attributes=attributes)


class _ByPath(_Flags, ActView):
    """The flag is named in the path."""


class _ByBody(_ByPath):
    """The flag is named in the body or among the parameters."""

    takes: ClassVar[type[Body]] = shapes.NamedVersioned

    @idempotent()
    def post(self, request: Request) -> Response:
        wanted = body(request, self.takes, reads_query=True)
        asked = query(request, shapes.NameQuery).get("name")
        name = wanted.pop("name", None) or asked
        if name is None:
            raise exceptions.ValidationError({"name": ["must be in the body or in the address, was in neither"]})
        if asked is not None and asked != name:
            raise InvalidQuery({"name": [f"must be the body's name where both are given, was {asked!r}"]})
        return self.act(request, name, wanted)


@acted(TAG, "Enable a flag", "flags_enable")
class FlagEnable(_ByPath):
    """Serve whom the strategy names; a killed flag comes back."""

    direction, does = Direction.ON, staticmethod(services.enable)


@acted(TAG, "Disable a flag", "flags_disable")
class FlagDisable(_ByPath):
    """Off for everybody; the strategy stays, and waits."""

    direction, does = Direction.OFF, staticmethod(services.disable)


@acted(TAG, "Kill a flag", "flags_kill")
class FlagKill(_ByPath):
    """Off for everybody at once, and held off until somebody enables it."""

    direction, does = Direction.OFF, staticmethod(services.kill)


@acted(TAG, "Serve a percentage", "flags_percentage")
class FlagPercentage(_ByPath):
    """Serve this share of sticky ids. Does not enable a disabled flag."""

    takes, does = shapes.Share, staticmethod(services.set_percentage)


@acted(TAG, "Add to the whitelist", "flags_whitelist_add")
class WhitelistAdd(_ByPath):
    """The list acts under the strategy `whitelist` only."""

    takes, does = shapes.Entries, staticmethod(services.whitelist_add)


@acted(TAG, "Take off the whitelist", "flags_whitelist_remove")
class WhitelistRemove(_ByPath):
    """An entry that is not on it is refused: it is most likely misspelt."""

    takes, does = shapes.Entries, staticmethod(services.whitelist_remove)


@acted(TAG, "Enable the named flag", "flags_enable_named", shapes.NameQuery)
class FlagEnableNamed(_ByBody, FlagEnable):
    """As `feature-flags/{name}/enable`, with the name in the body or in the address."""


@acted(TAG, "Disable the named flag", "flags_disable_named", shapes.NameQuery)
class FlagDisableNamed(_ByBody, FlagDisable):
    """As `feature-flags/{name}/disable`, with the name in the body or in the address."""


@acted(TAG, "Serve a percentage of the named flag", "flags_percentage_named", shapes.NameQuery)
class FlagPercentageNamed(_ByBody, FlagPercentage):
    """As `feature-flags/{name}/percentage`, with the name in the body or in the address."""

    takes = shapes.NamedShare


@posted(TAG, "Bring a flag back", "flags_restore", shapes.FlagSerializer, shapes.Restored, [IF_MATCH])
class FlagRestore(_Flags):
    """An archived flag as it last was, or any flag as it was after one change of its history."""

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        wanted = body(request, shapes.Restored)
        version = seen_version(request, wanted.get("version"), FeatureFlag.objects.filter(name=name).first())
        demand(request, self.needed(name, None, wanted))
        services.restore(name, wanted.get("entry"), actor=actor(request), reason=wanted["reason"], version=version)
        return self.shown(name)
