"""JSON bodies: bounded in size and depth, and nothing in them that PostgreSQL or a client cannot hold."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final, NoReturn

from rest_framework import exceptions, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from helios.db.json_values import json_safe

MAX_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 32
MAX_PARTS: Final = 20_000  # commas and opening brackets: a megabyte of small lists takes a second of everybody's time
MAX_WHOLE: Final = 2**63 - 1
_HALVES: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"must be nested at most {MAX_DEPTH} deep, was deeper"


class TooLarge(exceptions.APIException):
    """A body beyond what any request here needs."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"a body must have at most {MAX_BYTES} bytes, was larger"
    default_code = "too_large"


class StrictJson(BaseParser):
    """`application/json` in UTF-8, without NaN, repeated names, NUL characters or numbers beyond 64 bits."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002 - DRF's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise TooLarge
        return read(raw)


class AnyNumber(JSONRenderer):
    """JSON in which a number that is none is null: an older row may hold one, and its list is answered all the same."""

    def render(self, data: Any, *args: Any, **options: Any) -> bytes:
        """The body."""
        try:
            return bytes(super().render(data, *args, **options))
        except ValueError:
            return bytes(super().render(json_safe(data), *args, **options))


class OnlyJson(DefaultContentNegotiation):
    """Answers are JSON whatever `Accept` says: there is nothing else to choose."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002 - DRF's signature
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


def read(raw: bytes, of: str = "a body") -> Any:
    """The value that `raw` holds; `ParseError`, one sentence about it, when it is not JSON of the kind above."""
    if not raw.strip():
        return {}
    if (n := sum(map(raw.count, b"[{,"))) > MAX_PARTS:
        raise exceptions.ParseError(f"{of} must have at most {MAX_PARTS:,} commas and opening brackets, had {n:,}")
    try:
        value = json.loads(raw.decode(), parse_constant=_no_constant, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise exceptions.ParseError(f"{of} must be UTF-8, was not at byte {error.start}") from error
    except RecursionError as error:
        raise exceptions.ParseError(f"{of} {_TOO_DEEP}") from error
    except ValueError as error:
        raise exceptions.ParseError(f"{of} must be JSON, was not: {error}") from error
    for pointer, reason in _unfit(value, "", 0):
        raise exceptions.ParseError(f"{pointer or of} {reason}")
    return value


def escaped(name: object) -> str:
    """A name in printable ASCII, as a part of a JSON pointer (RFC 6901)."""
    return str(name).encode("ascii", "backslashreplace").decode().replace("~", "~0").replace("/", "~1")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, was {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((name, _times),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"names must be given once, twice was {name[:80]!r}")
    return found


def _unfit(value: Any, pointer: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        yield pointer, _TOO_DEEP
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _unfit(name, f"{pointer}/{_printable(name)}", depth + 1)
            yield from _unfit(each, f"{pointer}/{_printable(name)}", depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _unfit(each, f"{pointer}/{index}", depth + 1)
    elif isinstance(value, str):
        if "\x00" in value:
            yield pointer, "must not hold a NUL character, did"
        elif _HALVES.search(value):
            yield pointer, "must be Unicode text, held half a surrogate pair"
    elif (isinstance(value, int) and abs(value) > MAX_WHOLE) or value in {math.inf, -math.inf}:
        yield pointer, "must be a number of at most 64 bits, was larger"


def _printable(name: str) -> str:
    return escaped(name).replace("\x00", "\\x00")[:80]
