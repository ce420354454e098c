"""When a circuit opens, for how long and how it is tried again: numbers, and what makes sense of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_SECONDS: Final = 7 * 86_400.0
MAX_WINDOW_CALLS: Final = 10_000
MAX_MULTIPLIER: Final = 10.0


class Mode(StrEnum):
    """What a person has set: METRICS_ONLY never refuses a call, FORCED_OPEN refuses every one."""

    NORMAL = "normal"
    METRICS_ONLY = "metrics_only"
    FORCED_OPEN = "forced_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of the state machine in `core`; 0 leaves a limit out. Raises `ValueError` on nonsense."""

    failure_threshold: int = 5
    failure_rate: float = 0.0
    slow_call_s: float = 0.0
    slow_call_rate: float = 0.0
    minimum_calls: int = 1
    window_calls: int = 10
    window_s: float = 0.0
    open_s: float = 60.0
    open_multiplier: float = 1.0
    open_max_s: float = 0.0
    open_jitter: float = 0.0
    half_open_permits: int = 1
    permit_s: float = 60.0

    def __post_init__(self) -> None:
        for problem in (_ranges(self), _limits(self), _intervals(self)):
            if problem:
                raise ValueError(problem)


FIELDS: Final = tuple(Config.__dataclass_fields__)

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "failure_threshold": (0, MAX_WINDOW_CALLS),
    "failure_rate": (0, 1),
    "slow_call_s": (0, MAX_SECONDS),
    "slow_call_rate": (0, 1),
    "minimum_calls": (1, MAX_WINDOW_CALLS),
    "window_calls": (0, MAX_WINDOW_CALLS),
    "window_s": (0, MAX_SECONDS),
    "open_multiplier": (1, MAX_MULTIPLIER),
    "open_max_s": (0, MAX_SECONDS),
    "open_jitter": (0, 1),
    "half_open_permits": (1, MAX_WINDOW_CALLS),
}


def _ranges(config: Config) -> str:
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        if not low <= value <= high:
            return f"{name} must be from {low:g} to {high:g}, was {value:g}"
    for name in ("open_s", "permit_s"):
        if not 0 < getattr(config, name) <= MAX_SECONDS:
            return f"{name} must be above 0 and at most {MAX_SECONDS:.0f} seconds, was {getattr(config, name):g}"
    return ""


def _limits(config: Config) -> str:
    if not config.failure_threshold and not config.failure_rate:
        return "failure_threshold or failure_rate must be set, both were 0: it would never open"
    if config.slow_call_rate and not config.slow_call_s:
        return f"slow_call_s must tell what is slow where slow_call_rate is {config.slow_call_rate:g}, was 0"
    if not config.window_calls and not config.window_s:
        return "window_calls or window_s must be set, both were 0: it would look at no call"
    if config.window_calls and config.window_calls < max(config.failure_threshold, config.minimum_calls):
        return (
            f"window_calls must hold failure_threshold = {config.failure_threshold} and minimum_calls = "
            f"{config.minimum_calls}, was {config.window_calls}"
        )
    return ""


def _intervals(config: Config) -> str:
    if config.open_multiplier > 1 and not config.open_max_s:
        return f"open_max_s must end the growth by open_multiplier = {config.open_multiplier:g}, was 0"
    if config.open_max_s and config.open_max_s < config.open_s:
        return f"open_max_s must be at least open_s = {config.open_s:g}, was {config.open_max_s:g}"
    return ""
