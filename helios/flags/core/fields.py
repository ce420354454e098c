"""What each field of a flag may hold; the rules between fields are the definition's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from helios.entries import storable
from helios.flags.core.definition import Strategy
from helios.flags.errors import InvalidFlagError

MAX_ENTRY: Final = 128
MAX_TEXT: Final[Mapping[str, int]] = {"stickiness": 64, "owner": 128, "group_id": 100}
MAX_OBJECTS: Final = 500  # in one list of a flag: every evaluation may walk them all
MAX_NAME: Final[Mapping[str, int]] = {"environments": 64, "segments": 100}  # of one entry, where it is less
NAME_LISTS: Final = frozenset({"whitelist", "blacklist", "segments", "environments"})  # sets, kept sorted


def check_field(name: str, value: Any) -> None:
    """Raise `InvalidFlagError`, one sentence, unless `value` is of the kind that field `name` holds.

    A name that is no editable field is refused as well.
    """
    if name not in _CHECKS:
        raise InvalidFlagError(f"fields of a flag must be among {', '.join(_CHECKS)}, was {name}", name)
    check_text(name, value)
    _CHECKS[name](name, value)


def check_text(name: str, value: Any) -> None:
    """No text in `value`, however deep, that a database cannot hold: NUL, or half of a surrogate pair."""
    if isinstance(value, str):
        if not storable(value):
            raise InvalidFlagError(f"{name} must hold text that can be stored, held a NUL or half a character", name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            check_text(name, key)
            check_text(name, each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            check_text(name, each)


def check_entries(name: str, value: Any) -> None:
    """The entries of a list: texts of 1 to 128 letters. One bare text is most likely a forgotten bracket."""
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple | set | frozenset):
        raise InvalidFlagError(f"{name} must be a list of texts, was {value!r}", name)
    limit = MAX_NAME.get(name, MAX_ENTRY)
    for entry in value:
        if not isinstance(entry, str) or not 1 <= len(entry) <= limit:
            raise InvalidFlagError(f"entries of a list must be texts of 1 to {limit} letters, was {entry!r}", name)


def check_objects(name: str, value: Any) -> None:
    """A list of JSON objects; what the objects hold is checked where they are read."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, dict) for each in value):
        raise InvalidFlagError(f"{name} must be a list of objects, was {value!r}", name)
    if len(value) > MAX_OBJECTS:
        raise InvalidFlagError(f"{name} must hold at most {MAX_OBJECTS} objects, held {len(value)}", name)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidFlagError(f"{name} must hold plain JSON, did not: {error}", name) from error


def _enabled(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidFlagError(f"{name} must be true or false, was {value!r}", name)


def _strategy(name: str, value: Any) -> None:
    choices = [each.value for each in Strategy if each is not Strategy.KILL_SWITCH]
    if value not in choices:
        raise InvalidFlagError(f"{name} must be one of {', '.join(choices)}, was {value!r}", name)


def _percentage(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= 100:
        raise InvalidFlagError(f"{name} must be a whole number from 0 to 100, was {value!r}", name)


def _moment(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise InvalidFlagError(f"{name} must be a moment in time with a time zone, was {value!r}", name)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidFlagError(f"{name} must be a text, was {value!r}", name)
    limit = MAX_TEXT.get(name)
    if limit is not None and len(value) > limit:
        raise InvalidFlagError(f"{name} must have at most {limit} letters, was {len(value)} long", name)


_CHECKS: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "enabled": _enabled,
    "strategy": _strategy,
    "percentage": _percentage,
    "whitelist": check_entries,
    "blacklist": check_entries,
    "gradual_from": _percentage,
    "gradual_start": _moment,
    "gradual_end": _moment,
    "schedule": check_objects,
    "stickiness": _text,
    "group_id": _text,
    "environments": check_entries,
    "segments": check_entries,
    "constraints": check_objects,
    "prerequisites": check_objects,
    "rules": check_objects,
    "variants": check_objects,
    "description": _text,
    "owner": _text,
    "expires_at": _moment,
}
EDITABLE: Final = tuple(_CHECKS)
