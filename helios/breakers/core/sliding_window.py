"""The outcomes that a circuit looks at, as text that Redis and Python read alike.

A window is a list of runs, oldest first: `1700000000000S3,1700000001000F1` are three successes in the slot that
began at that millisecond, then a failure in the next. Letters: S success, F failure, and in lower case the slow
ones. `window_calls` keeps the last so many calls exactly. `window_s` keeps them by slots of a sixtieth: a call
counts as of the beginning of its slot, so none that is older than `window_s` is ever counted, and one leaves at
the most a sixtieth early. Both together both hold; without `window_s` no time is kept.

The text grows with the window, never with the number of calls: at most `window_calls` runs, or four letters for
each of 61 slots where only time bounds it. Every operation reads it once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Protocol

SLOTS: Final = 60
_RUN: Final = re.compile(r"(-?\d{1,18})([SFsf])(\d+)")

Run = tuple[int, str, int]  # begin of the slot in milliseconds (0: no time is kept), letter, how many


class Bounds(Protocol):
    """The two numbers that bound a window; 0 leaves one out. `core.Config` is it."""

    @property
    def window_calls(self) -> int: ...

    @property
    def window_s(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is in a window: calls, and how many of them failed or were slow (or both)."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    @property
    def failure_rate(self) -> float:
        return self.failures / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        return self.slow / self.calls if self.calls else 0.0


def runs(text: str) -> list[Run]:
    """The runs of a window, oldest first."""
    return [(int(at), letter, int(number)) for at, letter, number in _RUN.findall(text)]


def text(of: list[Run]) -> str:
    """The other way round."""
    return ",".join(f"{at}{letter}{number}" for at, letter, number in of)


def counts(window: str) -> Counts:
    """Calls, failures and slow calls of a window."""
    found = runs(window)
    return Counts(
        calls=sum(number for _, _, number in found),
        failures=sum(number for _, letter, number in found if letter in "Ff"),
        slow=sum(number for _, letter, number in found if letter in "sf"),
    )


def letters(window: str) -> str:
    """One letter a call, oldest first: how people and tests read a window."""
    return "".join(letter * number for _, letter, number in runs(window))


def recent(window: str, bounds: Bounds, now: float) -> str:
    """The window without what `now` has made too old."""
    if not window or not bounds.window_s:
        return window
    return text([run for run in runs(window) if _alive(run[0], bounds, math.floor(now * 1000))])


def enters(bounds: Bounds, now: float, number: int, age_ms: int) -> bool:
    """Whether `number` calls that ended `age_ms` before `now` are something a window would hold."""
    now_ms = math.floor(now * 1000)
    return number > 0 and (not bounds.window_s or _alive(_slot(now_ms - age_ms, bounds), bounds, now_ms))


def add(window: str, bounds: Bounds, now: float, letter: str, number: int, age_ms: int = 0) -> str:
    """The window after `number` more calls of one kind, which ended `age_ms` before `now`."""
    if not enters(bounds, now, number, age_ms):
        return window
    at = _slot(math.floor(now * 1000) - age_ms, bounds) if bounds.window_s else 0
    found = runs(window)
    # The order within a slot matters only where calls leave one by one.
    places = range(len(found) - 1, -1, -1) if not bounds.window_calls else range(len(found) - 1, len(found) - 2, -1)
    same = next((place for place in places if place >= 0 and found[place][:2] == (at, letter)), None)
    if same is None:
        found.append((at, letter, number))
    else:
        found[same] = (at, letter, found[same][2] + number)
    return text(_last(found, bounds.window_calls))


def moved(window: str, by_ms: int) -> str:
    """The window on a clock that is `by_ms` ahead."""
    return text([(at + by_ms if at else 0, letter, number) for at, letter, number in runs(window)])


def aged(window: str, now: float) -> str:
    """The window with the ages of its runs in milliseconds in place of their times, to be told elsewhere."""
    now_ms = math.floor(now * 1000)
    return text([(max(0, now_ms - at) if at else 0, letter, number) for at, letter, number in runs(window)])


def _slot(at_ms: int, bounds: Bounds) -> int:
    width = max(1, math.floor(bounds.window_s * 1000 / SLOTS))
    return at_ms // width * width


def _alive(at: int, bounds: Bounds, now_ms: int) -> bool:
    """Also false for what lies in the future: the clock was turned back, and it would stay for too long."""
    return now_ms - bounds.window_s * 1000 < at <= now_ms


def _last(found: list[Run], calls: int) -> list[Run]:
    """The runs that hold the last `calls` calls; all of them where `calls` is 0."""
    excess = sum(number for _, _, number in found) - calls if calls else 0
    while excess > 0:
        at, letter, number = found.pop(0)
        if number > excess:
            found.insert(0, (at, letter, number - excess))
        excess -= number
    return found
