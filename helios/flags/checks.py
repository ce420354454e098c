"""What each field of a flag may hold; the rules between fields are the definition's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from helios.flags.core import Strategy
from helios.flags.errors import InvalidFlagError

MAX_ENTRY: Final = 128
MAX_TEXT: Final[Mapping[str, int]] = {"stickiness": 64, "owner": 128}


def check_field(name: str, value: Any) -> None:
    """Raise `InvalidFlagError`, one sentence, unless `value` is of the kind that field `name` holds.

    A name that is no editable field is refused as well.
    """
    if name not in _CHECKS:
        raise InvalidFlagError(f"fields of a flag must be among {', '.join(_CHECKS)}, was {name}")
    _CHECKS[name](name, value)


def check_entries(name: str, value: Any) -> None:
    """The entries of a list: texts of 1 to 128 letters. One bare text is most likely a forgotten bracket."""
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidFlagError(f"{name} must be a list of texts, was {value!r}")
    for entry in value:
        if not isinstance(entry, str) or not 1 <= len(entry) <= MAX_ENTRY:
            raise InvalidFlagError(f"entries of a list must be texts of 1 to {MAX_ENTRY} letters, was {entry!r}")


def _enabled(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidFlagError(f"{name} must be true or false, was {value!r}")


def _strategy(name: str, value: Any) -> None:
    choices = [each.value for each in Strategy if each is not Strategy.KILL_SWITCH]
    if value not in choices:
        raise InvalidFlagError(f"{name} must be one of {', '.join(choices)}, was {value!r}")


def _percentage(_name: str, _value: Any) -> None:
    """The definition checks it, wherever it comes from."""


def _moment(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise InvalidFlagError(f"{name} must be a moment in time with a time zone, was {value!r}")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidFlagError(f"{name} must be a text, was {value!r}")
    limit = MAX_TEXT.get(name)
    if limit is not None and len(value) > limit:
        raise InvalidFlagError(f"{name} must have at most {limit} letters, was {len(value)} long")


_CHECKS: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "enabled": _enabled,
    "strategy": _strategy,
    "percentage": _percentage,
    "whitelist": check_entries,
    "blacklist": check_entries,
    "gradual_start": _moment,
    "gradual_end": _moment,
    "stickiness": _text,
    "description": _text,
    "owner": _text,
    "expires_at": _moment,
}
EDITABLE: Final = tuple(_CHECKS)
