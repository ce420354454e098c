"""How lists are cut into pages."""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from rest_framework import exceptions
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request

from helios.web.problems import InvalidQuery

MAX_PAGE: Final = 100_000


class Pages(PageNumberPagination):
    """`?page=2&page_size=100`: 50 rows a page unless asked otherwise, at most 500."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500
    NAMES: Final = ("page", "page_size")

    def get_page_size(self, request: Request) -> int:
        return integer_parameter(request, "page_size", default=self.page_size, top=self.max_page_size)

    def get_page_number(self, request: Request, paginator: Paginator[Any]) -> int:
        number = integer_parameter(request, "page", default=1, top=MAX_PAGE)
        if number > paginator.num_pages:
            raise exceptions.NotFound(f"page must be one of the {paginator.num_pages} pages there are, was {number}")
        return number

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        """What the OpenAPI schema says about both parameters."""
        return [
            _parameter("page", "Which page, from 1.", MAX_PAGE, 1),
            _parameter("page_size", "Rows a page.", self.max_page_size, self.page_size),
        ]


def integer_parameter(request: Request, name: str, *, default: int, top: int) -> int:
    """The query parameter as a whole number from 1 to `top`; a problem that names it otherwise."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(top)) and 1 <= int(given) <= top):
        raise InvalidQuery({name: [f"must be a whole number from 1 to {top}, was {given[:40]!r}"]})
    return int(given)


def _parameter(name: str, description: str, top: int, default: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": top, "default": default}
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
