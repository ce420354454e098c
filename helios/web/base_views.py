"""The base of every view under /api/: who asks, within which limits, and bodies and parameters read strictly."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, TypeVar, cast

from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from rest_framework import exceptions, serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from helios.web import throttling
from helios.web.pagination import Pages
from helios.web.problems import InvalidHeader, InvalidQuery
from helios.web.shapes import Query

Row = TypeVar("Row", bound=Model)
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,99}")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"?(\d{1,18})"?')


class ApiView(APIView):
    """A view that counts strangers against their address before it turns them away."""

    def perform_authentication(self, request: Request) -> None:
        try:
            super().perform_authentication(request)
        except exceptions.AuthenticationFailed:
            _count_stranger(request)
            raise

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> Any:
        if request.user is None or not request.user.is_authenticated:
            _count_stranger(request)
        return super().permission_denied(request, message=message, code=code)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        name = kwargs.get("name")
        if name is not None and not NAME.fullmatch(name):
            raise exceptions.NotFound("a name must be 1 to 100 letters, digits or _ . ~ -, was not")


def actor(request: Request) -> str:
    """The name that histories keep for this request."""
    return cast("User", request.user).get_username()


def body(request: Request, shape: type[BaseSerializer[Any]]) -> dict[str, Any]:
    """The body in this shape; 400 with a pointer to each field that does not fit."""
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


def no_query(request: Request) -> None:
    """Refuse parameters where there are none."""
    query(request, Query)


def seen_version(request: Request, given: int | None) -> int | None:
    """The version that the caller saw: from the body, or from `If-Match` as `GET` gave it in `ETag`."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return given
    match = _ENTITY_TAG.fullmatch(header.strip())
    if match is None:
        raise InvalidHeader({"If-Match": ["must be the ETag of an earlier answer, was not"]})
    if given is not None and given != int(match[1]):
        raise InvalidHeader({"If-Match": ["must be the version of the body where both are given, was another"]})
    return int(match[1])


def unknown(kind: str, name: str, names: Iterable[str]) -> exceptions.NotFound:
    """404 for a name that nothing has, with the nearest one that there is."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:20]) or 'none'}"
    return exceptions.NotFound(f"no {kind} is named {name!r}; {hint}")


def _count_stranger(request: Request) -> None:
    wait = throttling.stranger_wait_s(request)
    if wait > 0:
        raise exceptions.Throttled(wait)


class ListView(ApiView, ListAPIView[Row]):
    """A list in pages, narrowed and ordered by `filters`; parameters that it does not know are refused."""

    model: ClassVar[type[Model]]
    filters: type[Query] = Query
    lookups: ClassVar[Mapping[str, str]] = {}  # parameters that are compared as they are, and with what

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[Any]:
        """What is listed, in its order; `_wanted` are the parameters of this request."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # while the schema is made
            return self.model._default_manager.none()  # noqa: SLF001 - its documented name
        wanted = query(self.request, self.filters, paged=True)
        return narrowed(self.rows(wanted), wanted, self.lookups)


def versioned(row: Any, shape: type[BaseSerializer[Any]], made_at: str = "") -> Response:
    """The row as it is now, with its version as ETag; 201 with its address where it was made."""
    headers = {"ETag": f'"{row.version}"', **({"Location": made_at} if made_at else {})}
    return Response(shape(row).data, status=201 if made_at else 200, headers=headers)


def narrowed(rows: QuerySet[Row], wanted: dict[str, Any], lookups: Mapping[str, str]) -> QuerySet[Row]:
    """The rows for which every wanted parameter holds; `ordering` sorts, the key decides between equals."""
    rows = rows.filter(**{lookups[name]: value for name, value in wanted.items() if name in lookups})
    if "ordering" in wanted:
        rows = rows.order_by(wanted["ordering"], "pk")
    return rows


def ordering(*names: str) -> serializers.ChoiceField:
    """The parameter that sorts a list by one of these fields, a minus before it turns the order round."""
    choices = [each for name in names for each in (name, f"-{name}")]
    return serializers.ChoiceField(choices=choices, required=False, help_text="a minus: descending")
