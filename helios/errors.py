"""The error tree, grouped by what the caller has to do."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

LONGEST_TEXT: Final = 2_000  # letters of an error's text that a reason keeps
_redact: Callable[[str], str] = str
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__


class HeliosError(Exception):
    """Any error that Helios raises on purpose; its text is one sentence a person can act on."""


class Transient(HeliosError):  # noqa: N818 - named after what the caller does with it
    """May succeed when tried again: a time-out while reading, a lost connection."""


class Rejected(HeliosError):  # noqa: N818
    """Will not succeed when tried again: record it and go on."""


class NotFound(Rejected):
    """Nothing is there under that name or number."""


class Conflict(Rejected):
    """Somebody else was first: look at what they did, then repeat what still makes sense."""


class TooMany(Rejected):
    """As many as may wait do so already: come back when one of them has ended."""


class Ambiguous(HeliosError):  # noqa: N818
    """May have taken effect: ask the other side before anything else is sent."""


class DataError(Rejected):
    """Input that breaks a rule; names the row and the column where there is one."""


class ModelMissing(Rejected):
    """No trained model fits the request."""


class SettingsError(HeliosError):
    """The environment or `.env` cannot be used; the text names each wrong setting and shows no secret."""


def error_text(error: BaseException) -> str:
    """An error as a reason: our own in their words, others with their kind; cut where it is long, without secrets.

    Its text may be made by code from outside: whatever that does, there is a reason. So nothing of its class is asked:
    `isinstance` and `__name__` are what a class says of itself.
    """
    try:
        text = str.rstrip(str(error))
    except BaseException as worse:  # noqa: BLE001
        text = f"its text cannot be read ({kind_of(worse)})"
    if not issubclass(type(error), HeliosError):
        text = f"{kind_of(error)}: {text}" if text else kind_of(error)
    return _printable(_redact(text[: 2 * LONGEST_TEXT]))[:LONGEST_TEXT]  # no secret is cut in half and shown


def _printable(text: str) -> str:
    """The text with U+FFFD for what steers a terminal or turns the direction of writing; lines stay lines."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def kind_of(error: BaseException) -> str:
    """The name of an error's class, without a word from that class."""
    return str.__str__(_name_of(type(error)))


def plain(error: BaseException) -> HeliosError:
    """One of ours with the text and the traceback of an error from outside, for whoever formats or pickles it."""
    return HeliosError(error_text(error)).with_traceback(_traceback_of(error))


def redact_with(redact: Callable[[str], str]) -> None:
    """Have reasons pass through `redact`, which knows this process's secrets."""
    global _redact  # noqa: PLW0603 - once a process
    _redact = redact
