"""The error tree, grouped by what the caller has to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST_TEXT: Final = 2_000  # letters of an error's text that a reason keeps
_redact: Callable[[str], str] = str


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

    Its text may be made by code from outside: whatever that does, there is a reason.
    """
    try:
        text = str(error).rstrip()
    except BaseException as worse:  # noqa: BLE001
        text = f"its text cannot be read ({type(worse).__name__})"
    if not isinstance(error, HeliosError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return _redact(text[: 2 * LONGEST_TEXT])[:LONGEST_TEXT]  # no secret is cut in half and shown


def redact_with(redact: Callable[[str], str]) -> None:
    """Have reasons pass through `redact`, which knows this process's secrets."""
    global _redact  # noqa: PLW0603 - once a process
    _redact = redact
