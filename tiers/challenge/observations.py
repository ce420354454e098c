"""From the decisions of two arms, with what came of each, to the figures that a rollout is judged by. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

import numpy as np

from helios.rollouts.core.assignment import Arm
from helios.rollouts.core.measures import ArmMeasures, Place

BPS = 1e4
LEAST_PROBABILITY = 1e-12  # a forecast that ruled out what happened costs 27.6 nats, not infinitely many


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One arm's decision on one symbol in one cycle. None: not known yet, or not measured.

    One that did not decide is a forecast of a symbol that the other arm decided, or that has ended: of it only the loss
    counts.
    """

    arm: str
    book: int
    cycle: int
    symbol: str
    decided: bool = True
    failed: bool = False
    latency_ms: float | None = None  # of the arm's whole call, the same for every symbol of a cycle
    weight: float | None = None  # held because of it, as a fraction of equity
    pnl_bps: float | None = None  # of the book's equity, net of costs
    loss: float | None = None
    n_orders: int = 0
    n_rejected: int = 0
    rows_a_day: float = 1  # of what the PnL is of


def measures(observations: Iterable[Observation]) -> dict[str, ArmMeasures]:
    """Both arms' figures; the observations of a book come in the order of its bars."""
    arms: dict[str, list[Observation]] = {arm.value: [] for arm in Arm}
    for each in observations:
        arms[each.arm].append(each)
    return {arm: _of_arm(found) for arm, found in arms.items()}


def _of_arm(found: Sequence[Observation]) -> ArmMeasures:
    decided = [each for each in found if each.decided]
    good = [each for each in decided if not each.failed]
    forecasts = [each for each in found if each.loss is not None and not each.failed]
    return ArmMeasures(
        n_decisions=len(decided),
        n_errors=len(decided) - len(good),
        latency_ms=tuple({e.cycle: e.latency_ms for e in decided if e.latency_ms is not None}.values()),
        pnl_bps=tuple(each.pnl_bps for each in good if each.pnl_bps is not None),
        losses=tuple(each.loss for each in forecasts if each.loss is not None),
        pnl_of=tuple((each.cycle, each.symbol) for each in good if each.pnl_bps is not None),
        losses_of=tuple((each.cycle, each.symbol) for each in forecasts),
        rows_a_day=max((each.rows_a_day for each in good), default=1),
        n_orders=sum(each.n_orders for each in good),
        n_rejected=sum(each.n_rejected for each in good),
        exposure=_exposure(good),
        drawdown=_drawdown(good),
    )


def _exposure(found: Iterable[Observation]) -> float | None:
    """The largest gross weight of the arm's symbols in any cycle."""
    gross: defaultdict[int, float] = defaultdict(float)
    for each in found:
        if each.weight is not None:
            gross[each.cycle] += abs(each.weight)
    return max(gross.values(), default=None)


def _drawdown(found: Iterable[Observation]) -> float | None:
    """The largest fall of the arm's summed PnL from its peak, of any book, as a fraction of that book's equity."""
    paths: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for each in found:
        if each.pnl_bps is not None:
            path = paths[each.book]
            path[each.cycle] = path.get(each.cycle, 0.0) + each.pnl_bps
    return max((_fall(list(path.values())) / BPS for path in paths.values()), default=None)


def _fall(steps: list[float]) -> float:
    curve = np.concatenate([[0.0], np.cumsum(steps)])
    return float((np.maximum.accumulate(curve) - curve).max())


T = TypeVar("T")
Key = tuple[datetime, int]  # bar and number of a cycle


@dataclass(slots=True)
class Series(Generic[T]):
    """What each cycle gave, in the order of the cycles, whatever the order they come in."""

    keys: list[Key] = field(default_factory=list)
    values: list[T] = field(default_factory=list)

    def add(self, key: Key, values: Sequence[T]) -> None:
        """Put in what one cycle gave."""
        place = bisect_right(self.keys, key)
        self.keys[place:place], self.values[place:place] = [key] * len(values), values

    def joined(self, other: Series[T]) -> tuple[T, ...]:
        """The values of both."""
        if not self.keys or not other.keys or self.keys[-1] < other.keys[0]:
            return (*self.values, *other.values)
        both = zip([*self.keys, *other.keys], [*self.values, *other.values], strict=True)
        return tuple(value for _, value in sorted(both, key=lambda one: one[0]))


@dataclass(slots=True)
class Path:
    """The summed PnL of a book's cycles so far, its peak and its largest fall from a peak, in bps."""

    total: float = 0.0
    peak: float = 0.0
    fall: float = 0.0

    def step(self, pnl_bps: Iterable[float]) -> None:
        """One more cycle, with what each symbol made in it."""
        made = 0.0
        for each in pnl_bps:
            made += each
        self.total += made
        self.peak = max(self.peak, self.total)
        self.fall = max(self.fall, self.peak - self.total)


_SERIES = ("latency_ms", "pnl_bps", "losses", "pnl_of", "losses_of")


@dataclass(slots=True)
class Totals:
    """The figures of one arm's settled cycles, kept so that they need not be read again. `measures` is the plain form.

    The cycles of one book are added in the order of its bars.
    """

    n_decisions: int = 0
    n_errors: int = 0
    n_orders: int = 0
    n_rejected: int = 0
    exposure: float | None = None
    rows_a_day: float = 1
    latency_ms: Series[float] = field(default_factory=Series)
    pnl_bps: Series[float] = field(default_factory=Series)
    losses: Series[float] = field(default_factory=Series)
    pnl_of: Series[Place] = field(default_factory=Series)
    losses_of: Series[Place] = field(default_factory=Series)
    paths: dict[int, Path] = field(default_factory=dict)  # by book

    def add(self, key: Key, found: Sequence[Observation]) -> None:
        """Count the observations of one cycle."""
        one = _of_arm(found)
        self.n_decisions += one.n_decisions
        self.n_errors += one.n_errors
        self.n_orders += one.n_orders
        self.n_rejected += one.n_rejected
        self.exposure = _larger(self.exposure, one.exposure)
        self.rows_a_day = max(self.rows_a_day, one.rows_a_day)
        for name in _SERIES:
            getattr(self, name).add(key, getattr(one, name))
        if one.pnl_bps:
            self.paths.setdefault(found[0].book, Path()).step(one.pnl_bps)

    def continued(self) -> Totals:
        """Empty totals for the cycles that follow: only the PnL goes on from where it stands."""
        return Totals(paths={book: replace(path) for book, path in self.paths.items()})

    def measures(self, fresh: Totals) -> ArmMeasures:
        """The arm's figures together with what was counted into `continued()` since."""
        return ArmMeasures(
            n_decisions=self.n_decisions + fresh.n_decisions,
            n_errors=self.n_errors + fresh.n_errors,
            rows_a_day=max(self.rows_a_day, fresh.rows_a_day),
            **{name: getattr(self, name).joined(getattr(fresh, name)) for name in _SERIES},
            n_orders=self.n_orders + fresh.n_orders,
            n_rejected=self.n_rejected + fresh.n_rejected,
            exposure=_larger(self.exposure, fresh.exposure),
            drawdown=max((path.fall / BPS for path in fresh.paths.values()), default=None),
        )


def _larger(a: float | None, b: float | None) -> float | None:
    return max((each for each in (a, b) if each is not None), default=None)


def hypothetical_bps(weight: float, before: float, close: float, following: float, cost_bps: float) -> float:
    """What a weight would earn until the following close, less the cost of coming to it from the one before.

    In bps of equity. The signal's own worth: as if it were held from the close of its bar on.
    """
    return weight * (following / close - 1.0) * BPS - abs(weight - before) * cost_bps


def realised_bps(value: float, following: float, cash_flow: float, equity: float) -> float:
    """What a position made until the following close, in bps of the equity before: fills at their prices, fees paid."""
    return (following - value + cash_flow) / equity * BPS if equity > 0.0 else 0.0


def log_loss(probability: Sequence[float], outcome: int) -> float:
    """Nats that a forecast lost on what happened."""
    return -math.log(max(probability[outcome], LEAST_PROBABILITY))
