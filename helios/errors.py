"""The error tree, grouped by what the caller has to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Final, cast

# What reading raises of what others wrote, in whatever shape.
UNREAD: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
LONGEST_TEXT: Final = 2_000  # letters of an error's text that a reason keeps
MOST_CAUSES: Final = 20  # that a trace tells
_redact: Callable[[str], str] = str
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__
_cause_of: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__cause__"].__get__
_context_of: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__context__"].__get__
_hides_context: Callable[[BaseException], bool] = BaseException.__dict__["__suppress_context__"].__get__


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


class Foreign(Exception):  # noqa: N818
    """What code from outside raised, by its name and text: nothing of its class is left."""


_KINDS: Final = (Transient, Ambiguous, ModelMissing, DataError, TooMany, Conflict, NotFound, Rejected, HeliosError)


def error_text(error: BaseException) -> str:
    """An error as a reason: our own in their words, others with their kind; cut where it is long, without secrets.

    Its text may be made by code from outside: whatever that does, there is a reason. So nothing of its class is asked:
    `isinstance` and `__name__` are what a class says of itself.
    """
    text = _text_of(error)
    if not issubclass(type(error), (HeliosError, Foreign)):
        text = f"{kind_of(error)}: {text}" if text else kind_of(error)
    return harmless(_redact(text[: 2 * LONGEST_TEXT]))[:LONGEST_TEXT]  # no secret is cut in half and shown


def _text_of(error: BaseException) -> str:
    try:
        return str.rstrip(str(error))
    except BaseException as worse:  # noqa: BLE001
        return f"its text cannot be read ({kind_of(worse)})"


def harmless(text: str) -> str:
    """The text with U+FFFD for what steers a terminal or turns the direction of writing; lines stay lines."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def kind_of(error: BaseException) -> str:
    """The name of an error's class, without a word from that class."""
    return str.__str__(_name_of(type(error)))


def plain(error: BaseException, *, also: tuple[type[Exception], ...] = ()) -> Exception:
    """One of ours with the text and the traceback of an error from outside, for whoever catches or formats it.

    Of the kind that it is of ours or of `also`; `Foreign` where it is none of them.
    """
    if type(error) in also:
        return cast("Exception", error)
    kind: type[Exception] = next((each for each in (*also, *_KINDS) if issubclass(type(error), each)), Foreign)
    return kind(_text_of(error) if kind in also else error_text(error)).with_traceback(_traceback_of(error))


def causes(error: BaseException, *, contexts: bool = False, hidden: bool = True) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on.

    With `contexts` also what was handled when it was raised, unless it was raised `from None` and is not `hidden`.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        cause, shown = _cause_of(found), contexts and (hidden or not _hides_context(found))
        found = _context_of(found) if cause is None and shown else cause


def trace(error: BaseException) -> str:
    """An error as Python shows it, what led to it first; without a word from its class or from the code it came by."""
    parts = []
    for each in reversed(list(islice(causes(error, contexts=True, hidden=False), MOST_CAUSES))):
        steps = traceback.StackSummary.from_list(list(_steps(_traceback_of(each))))
        head = "Traceback (most recent call last):\n" if steps else ""
        text = error_text(each)
        said = text if text.startswith(kind_of(each)) else f"{kind_of(each)}: {text}"
        parts.append(f"{head}{''.join(steps.format())}{said}\n")
    return "\nwhich led to:\n\n".join(parts)


def _steps(place: TracebackType | None) -> Iterator[traceback.FrameSummary]:
    while place is not None:
        code = place.tb_frame.f_code
        yield traceback.FrameSummary(
            str.__str__(code.co_filename), place.tb_lineno, str.__str__(code.co_name), lookup_line=False
        )
        place = place.tb_next


def redact_with(redact: Callable[[str], str]) -> None:
    """Have reasons pass through `redact`, which knows this process's secrets."""
    global _redact  # noqa: PLW0603 - once a process
    _redact = redact
