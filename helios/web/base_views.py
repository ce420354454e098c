"""The base of every view under /api/: who asks, within which limits, and bodies and parameters read strictly."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from rest_framework import exceptions
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from helios.db.lengths import long_fields
from helios.errors import Conflict
from helios.spelling import nearest
from helios.web import throttling
from helios.web.access import demand
from helios.web.idempotency import idempotent
from helios.web.pagination import Pages
from helios.web.problems import InvalidHeader, InvalidQuery
from helios.web.roles import Role
from helios.web.shapes import NAME, Body, Query, ReasonQuery, Row, Versioned

_ENTITY_TAG: Final = re.compile(r'(?:W/)?"?(?:([0-9]{1,18})-)?([0-9]{1,18})"?')  # of a row, or a bare version


class ApiView(APIView):
    """A view that counts strangers against their address before it turns them away, and refuses unknown parameters."""

    reads_query: ClassVar[bool] = False  # whether `get` takes parameters, and checks them itself

    def perform_authentication(self, request: Request) -> None:
        try:
            super().perform_authentication(request)
        except exceptions.AuthenticationFailed:
            _count_stranger(request)
            raise

    def check_permissions(self, request: Request) -> None:
        """What a person may not do counts against their rate too: it is counted before it is refused."""
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Done before the permissions."""

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> Any:
        if request.user is None or not request.user.is_authenticated:
            _count_stranger(request)
        return super().permission_denied(request, message=message, code=code)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        name = kwargs.get("name")
        if name is not None and not NAME.fullmatch(name):
            raise exceptions.NotFound("a name must be 1 to 100 letters, digits or _ . ~ -, was not")
        if request.method in {"GET", "HEAD"} and not self.reads_query:
            query(request, Query)


def actor(request: Request) -> str:
    """The name that histories keep for this request."""
    return cast("User", request.user).get_username()


def body(request: Request, shape: type[Body], *, reads_query: bool = False) -> dict[str, Any]:
    """The body in this shape; 400 with a pointer to each field that does not fit, and for unknown parameters."""
    if not reads_query:
        query(request, Query)
    read = shape(data=request.data)
    read.is_valid(raise_exception=True)
    return dict(read.validated_data)


def query(request: Request, shape: type[Query], *, paged: bool = False) -> dict[str, Any]:
    """The address's parameters in this shape; 400 naming each that does not fit or is not known."""
    given = {name: value for name, value in request.query_params.items() if not (paged and name in Pages.NAMES)}
    read = shape(data=given)
    if not read.is_valid():
        raise InvalidQuery(read.errors)
    return dict(read.validated_data)


def seen_version(request: Request, given: int | None, row: Any | None) -> int | None:
    """The version of the row that the caller saw: from the body, or from `If-Match` as `GET` gave it in `ETag`.

    Raises `Conflict` where the caller saw another row of that name than the one there is.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return given
    match = _ENTITY_TAG.fullmatch(header.strip())
    if match is None:
        raise InvalidHeader({"If-Match": ["must be the ETag of an earlier answer, was not"]})
    key, version = match[1], int(match[2])
    if given is not None and given != version:
        raise InvalidHeader({"If-Match": ["must be the version of the body where both are given, was another"]})
    if row is not None and key is not None and int(key) != row.pk:
        raise Conflict(f"{row.name} must still be number {key}, is number {row.pk}: look at it again, then repeat")
    return version


def unknown(kind: str, name: str, names: Iterable[str]) -> exceptions.NotFound:
    """404 for a name that nothing has, with the nearest one that there is."""
    known = sorted(names)
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known[:20]) or 'none'}"
    return exceptions.NotFound(f"no {kind} is named {name!r}; {hint}")


def _count_stranger(request: Request) -> None:
    wait = throttling.stranger_wait_s(request)
    if wait > 0:
        raise exceptions.Throttled(wait)


class ListView(ApiView, ListAPIView[Row], ABC):
    """A list in pages, narrowed and ordered by `filters`; parameters that it does not know are refused.

    Its rows come without what may be long in them, which is shown of one row at a time.
    """

    reads_query = True
    filters: type[Query] = Query
    lookups: ClassVar[Mapping[str, str]] = {}  # parameters that are compared as they are, and with what

    @abstractmethod
    def rows(self, _wanted: dict[str, Any]) -> QuerySet[Any]:
        """What is listed, in its order; `_wanted` are the parameters of this request."""

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # while the schema is made
            shape: Any = self.get_serializer_class()
            none: QuerySet[Any] = shape.Meta.model.objects.none()
            return none
        wanted = query(self.request, self.filters, paged=True)
        rows = self.rows(wanted).filter(**{self.lookups[name]: wanted[name] for name in wanted if name in self.lookups})
        rows = rows.defer(*long_fields(rows.model))
        return rows.order_by(wanted["ordering"], "pk") if "ordering" in wanted else rows


class VersionedView(ApiView):
    """Views of one subject, whose rows have a name and a version: how one is found, shown, changed and removed."""

    serializer_class: Any
    address: ClassVar[str]  # of the subject's list
    find: ClassVar[Callable[..., Any]]  # the row of a name, or `NotFound` with the nearest one
    key: ClassVar[str] = "name"  # what the services know a row by

    def needed(self, _name: str, _row: Any | None, _wanted: Mapping[str, Any]) -> Role | None:
        """The role that a change needs beyond the route's own; without a row it is to be made."""
        return None

    def tag(self, row: Any) -> str:
        """The row's ETag: its version, where no other row ever takes its name."""
        return f'"{row.version}"'

    def shown(self, which: Any, shape: type[BaseSerializer[Any]] | None = None, *, made: bool = False) -> Response:
        """The row as it is now, with its version as ETag; 201 with its address where it was made."""
        row = type(self).find(which)
        headers = {"ETag": self.tag(row), **({"Location": f"{self.address}/{row.name}"} if made else {})}
        status = HTTPStatus.CREATED if made else HTTPStatus.OK
        return Response((shape or self.serializer_class)(row).data, status=status, headers=headers)

    def create(self, request: Request, shape: type[Body], does: Callable[..., object]) -> Response:
        """Make a row of the body's fields."""
        wanted = body(request, shape)
        name, reason = wanted.pop("name"), wanted.pop("reason")
        self._demand(request, name, None, wanted)
        does(name, wanted, actor=actor(request), reason=reason)
        return self.shown(name, made=True)

    def edit(self, request: Request, name: str, shape: type[Body], does: Callable[..., object]) -> Response:
        """Set the body's fields."""
        wanted = body(request, shape)
        row = type(self).find(name)
        reason, version = wanted.pop("reason"), seen_version(request, wanted.pop("version", None), row)
        self._demand(request, name, row, wanted)
        does(name, wanted, actor=actor(request), reason=reason, version=version)
        return self.shown(name)

    def remove(self, request: Request, name: str, does: Callable[..., object]) -> Response:
        """Take the row away; why may be among the parameters."""
        row = type(self).find(name)
        reason, version = query(request, ReasonQuery)["reason"], seen_version(request, None, row)
        self._demand(request, name, row, {})
        does(name, actor=actor(request), reason=reason, version=version)
        return Response(status=HTTPStatus.NO_CONTENT)

    def _demand(self, request: Request, name: str, row: Any | None, wanted: Mapping[str, Any]) -> None:
        role = self.needed(name, row, wanted)
        if role is not None:
            demand(request, role)


class ActView(VersionedView):
    """Something else that a person does to a row; the service takes the body's fields by their names."""

    takes: ClassVar[type[Body]] = Versioned
    does: ClassVar[Callable[..., object]]

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        return self.act(request, name, body(request, self.takes))

    def act(self, request: Request, name: str, wanted: dict[str, Any]) -> Response:
        row = type(self).find(name)
        if issubclass(self.takes, Versioned):
            wanted["version"] = seen_version(request, wanted.pop("version", None), row)
        self._demand(request, name, row, wanted)
        which = getattr(row, self.key)
        type(self).does(which, actor=actor(request), **wanted)
        return self.shown(which)
