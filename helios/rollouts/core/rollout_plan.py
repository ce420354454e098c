"""The steps of a rollout: replay and shadow first, then growing shares of the symbols up to all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from helios.rollouts.core.assignment import ALL, Mode
from helios.rollouts.errors import RolloutRefused

MAX_STEPS: Final = 32
MAX_INTERVAL_S: Final = 90 * 86_400
SHARES: Final = (1, 5, 25, 50, ALL)
_ORDER: Final = {Mode.REPLAY: 0, Mode.SHADOW: 1, Mode.LIVE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: how the challenger runs, for how long until an analysis, and what that needs at least.

    A replay is analysed at once, for its decisions lie in the past; its interval is the pause before another try.
    """

    kind: Mode
    percentage: int = 0  # of the symbols; 0 where nothing is served
    interval_s: float = 3_600.0
    min_samples: int = 30  # decisions of the challenger

    @property
    def serves(self) -> str:
        """What the step does, in a few words."""
        if self.kind is Mode.LIVE:
            return f"{self.percentage} % of symbols"
        return "replay over stored history" if self.kind is Mode.REPLAY else "shadow, nothing served"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind.value}


DEFAULT: Final = (
    Step(kind=Mode.REPLAY),
    Step(kind=Mode.SHADOW),
    *(Step(kind=Mode.LIVE, percentage=share) for share in SHARES),
)


def parse_steps(raw: Any) -> tuple[Step, ...]:
    """The plan that a list of JSON objects describes.

    Raises `RolloutRefused` with one sentence unless at most one replay, then at most one shadow step, then live
    steps with strictly growing whole percentages up to 100 follow each other.
    """
    if isinstance(raw, str | bytes | Mapping) or not isinstance(raw, Iterable):
        raise RolloutRefused(f"steps must be a list of objects, was {raw!r}")
    steps = tuple(_step(number, each) for number, each in enumerate(raw, start=1))
    if not 1 <= len(steps) <= MAX_STEPS:
        raise RolloutRefused(f"a plan must have 1 to {MAX_STEPS} steps, had {len(steps)}")
    _check_order(steps)
    return steps


def _step(number: int, raw: Any) -> Step:
    if not isinstance(raw, Mapping):
        raise RolloutRefused(f"step {number} must be an object, was {raw!r}")
    known = {"kind", "percentage", "interval_s", "min_samples"}
    if extra := sorted(set(map(str, raw)) - known):
        raise RolloutRefused(f"step {number} must have no fields but {', '.join(sorted(known))}, had {extra[0]}")
    if raw.get("kind") not in tuple(Mode):
        raise RolloutRefused(f"kind of step {number} must be {', '.join(Mode)}, was {raw.get('kind')!r}")
    step = Step(**{**raw, "kind": Mode(raw["kind"])})
    _check_numbers(number, step)
    return step


def _check_numbers(number: int, step: Step) -> None:
    low, high = (1, ALL) if step.kind is Mode.LIVE else (0, 0)
    if type(step.percentage) is not int or not low <= step.percentage <= high:
        wanted = f"a whole number from {low} to {high}" if step.kind is Mode.LIVE else f"0 in {step.kind}"
        raise RolloutRefused(f"percentage of step {number} must be {wanted}, was {step.percentage!r}")
    if not is_number(step.interval_s) or not 0 < step.interval_s <= MAX_INTERVAL_S:
        raise RolloutRefused(
            f"interval_s of step {number} must be above 0 and at most {MAX_INTERVAL_S}, was {step.interval_s!r}"
        )
    if type(step.min_samples) is not int or step.min_samples < 1:
        raise RolloutRefused(f"min_samples of step {number} must be a whole number from 1, was {step.min_samples!r}")


def is_number(value: object) -> bool:
    """Whether `value` is finite and no larger than a float holds; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _check_order(steps: tuple[Step, ...]) -> None:
    for before, after in pairwise(steps):
        if before.kind is after.kind is Mode.LIVE:
            if after.percentage <= before.percentage:
                raise RolloutRefused(
                    f"percentages must grow from step to step, were {before.percentage} and then {after.percentage}"
                )
        elif _ORDER[after.kind] <= _ORDER[before.kind]:
            raise RolloutRefused(f"steps must go replay, shadow, live, was {after.kind} after {before.kind}")
    if steps[-1].percentage != ALL:
        raise RolloutRefused(f"the last step must be live at 100 percent, was {steps[-1].serves}")
