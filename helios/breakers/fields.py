"""Settings of a breaker on their way from a person into its row: types, unknown names, contradictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from helios.breakers.core.config import FIELDS, Config, Mode
from helios.breakers.errors import InvalidBreaker
from helios.breakers.models import CircuitBreaker

MAX_DESCRIPTION: Final = 200
EDITABLE: Final = (*FIELDS, "order_path", "description")
_INTEGERS: Final = tuple(name for name, field in Config.__dataclass_fields__.items() if field.type == "int")
_TRUTH: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def assign(row: CircuitBreaker, changes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Put values into a row that is not saved yet; what differed, before and after.

    Values may be text, as they come from a terminal. Raises `InvalidBreaker` where a name is unknown, a value is
    of the wrong kind, or the whole makes no sense; the row must then be thrown away.
    """
    unknown = sorted(set(changes) - set(EDITABLE))
    if unknown:
        raise InvalidBreaker(f"settings of a breaker are {', '.join(EDITABLE)}, was {', '.join(unknown)}")
    found: dict[str, list[Any]] = {}
    for name, given in changes.items():
        before, after = getattr(row, name), _value(name, given)
        if before != after:
            setattr(row, name, after)
            found[name] = [before, after]
    check(row)
    return found


def check(row: CircuitBreaker) -> None:
    """Raises `InvalidBreaker` where the row's values contradict each other."""
    try:
        row.settings()
    except ValueError as error:
        raise InvalidBreaker(f"{row.name}: {error}") from error
    if row.order_path and row.mode == Mode.METRICS_ONLY:
        raise InvalidBreaker(f"{row.name} guards orders and must act: it cannot only measure")


def _value(name: str, given: Any) -> Any:
    if name == "description":
        text = str(given).strip()
        if len(text) > MAX_DESCRIPTION:
            raise InvalidBreaker(f"description must have at most {MAX_DESCRIPTION} characters, had {len(text)}")
        return text
    if name == "order_path":
        truth = given if isinstance(given, bool) else _TRUTH.get(str(given).strip().lower())
        if truth is None:
            raise InvalidBreaker(f"order_path must be true or false, was {given!r}")
        return truth
    return _integer(name, given) if name in _INTEGERS else _number(name, given)


def _integer(name: str, given: Any) -> int:
    number = _number(name, given)
    if number != int(number):
        raise InvalidBreaker(f"{name} must be a whole number, was {given!r}")
    return int(number)


def _number(name: str, given: Any) -> float:
    try:
        number = float("truth" if isinstance(given, bool) else given)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidBreaker(f"{name} must be a number, was {given!r}") from error
    if not math.isfinite(number):
        raise InvalidBreaker(f"{name} must be a finite number, was {given!r}")
    return number
