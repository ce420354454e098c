"""What is known of one arm, as the provider of measures hands it over. Judged in `guards`, shown in `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helios.rollouts.core.assignment import Arm
from helios.rollouts.errors import MeasuresUnusable

Place = tuple[int, str]  # a bar, by its cycle or row, and a symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMeasures:
    """The decisions of one arm since a moment. An arm that decided nothing has the defaults.

    The champion's decisions are those for the symbols that it serves; in shadow mode both arms have all symbols. Losses
    are those of all its forecasts, also of symbols that the other arm decides.
    A decision that raised counts in `n_decisions` and in `n_errors`, and has no PnL and no loss.
    """

    n_decisions: int = 0
    n_errors: int = 0
    latency_ms: tuple[float, ...] = ()
    pnl_bps: tuple[float, ...] = ()  # one a decision whose outcome is known, net of costs, of the notional decided on
    losses: tuple[float, ...] = ()  # one a resolved forecast: log loss, lower is better calibrated
    pnl_of: tuple[Place, ...] = ()  # where each PnL was made, in the order of the bars; none: not known
    losses_of: tuple[Place, ...] = ()  # likewise
    rows_a_day: float = 1  # of which each has a PnL; of the market that has most: it is judged by what it is in a day
    n_bars: int = 0  # of a replay
    n_seen: int = 0  # of these, bars that a model which decides was trained on: what they show is no evidence
    n_orders: int = 0
    n_rejected: int = 0
    exposure: float | None = None  # gross notional over equity, of the arm's symbols; None: not measured
    drawdown: float | None = None  # largest fall of the arm's PnL from its peak, fraction of equity; None likewise


def checked(reading: Any) -> dict[str, ArmMeasures]:
    """Both arms of what a provider returned. Raises `MeasuresUnusable` where they cannot be judged at all.

    Single numbers that are not finite are left to the guards: another guard may still have something to say.
    """
    if not isinstance(reading, Mapping):
        raise MeasuresUnusable(f"measures must be a mapping of arms, was {type(reading).__name__}")
    arms: dict[str, ArmMeasures] = {}
    for arm in Arm:
        measures = reading.get(arm.value)
        if not isinstance(measures, ArmMeasures):
            raise MeasuresUnusable(f"measures must hold the {arm} as ArmMeasures, was {type(measures).__name__}")
        _check_counts(arm.value, measures)
        arms[arm.value] = measures
    return arms


def _check_counts(arm: str, measures: ArmMeasures) -> None:
    for part, whole in (("n_errors", "n_decisions"), ("n_rejected", "n_orders"), ("n_seen", "n_bars")):
        few, many = getattr(measures, part), getattr(measures, whole)
        if not 0 <= few <= many:
            raise MeasuresUnusable(f"{part} of the {arm} must be from 0 to {whole} {many}, was {few}")
