"""What the model in service knows, on bars that it did not see: pure figures, and sentences that follow from them.

The log loss of a forecast is that of "will it move?" and, where it moved, that of "where to?" (the chain rule), so
what a model gains on the class frequencies of its training falls into these two parts. The first is measured once
more against whoever knows no more than how wide the threshold of a move is. Losses are means over bars of the means
over symbols; hits and moves up are counted, each forecast once. Intervals come from a block bootstrap over
bars: symbols of one bar and horizons that overlap count as one piece of evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from tiers.backtest import metrics
from tiers.backtest.engine import Result
from tiers.contracts import BUY, HOLD, SELL, Bars, BoolArray, FloatArray, adjusted
from tiers.predict import labels
from tiers.predict.metrics import OutcomeArray

MIN_BARS = 60  # with a known outcome; of fewer nothing is said
N_RESAMPLES, CONFIDENCE = 10_000, 0.95
LEAST_BLOCKS = 8
SEED = 0  # of every run: who could choose it would choose what is said of a model
YARDSTICK = (
    "A move counts beyond a threshold that follows the volatility of the last bars. By the width of that threshold "
    "alone one knows in part when a move comes, of any prices. This model is not shown to know more."
)
LONG_BARS = (250, 1_000)  # of volatilities that a threshold is wide or narrow beside; the tiers look back further
_CHUNK = 2_000_000  # blocks drawn at once
_FLOOR = 1e-12
_ROUNDING = 1e-9  # less is no difference
_N_LOSSES = 6
_RIDGE = 1e-9  # so that a fit to what always came ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval says so, else 0."""
        return int(self.low > _ROUNDING) - int(self.high < -_ROUNDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The model on the bars from `start` on. Gains are nats a forecast, less log loss than the class frequencies'.

    `gain_beyond_width` is the gain on moving less that of the width of the threshold alone, fitted to each symbol.
    `hit_rate` is the share of forecasts whose likelier side was the sign of the move, `always_up` that of moves up.
    """

    start: datetime
    n_bars: int
    n_forecasts: int
    log_loss: float
    class_frequencies_log_loss: float
    gain: Estimate
    gain_on_moving: Estimate
    gain_beyond_width: Estimate
    gain_on_direction: Estimate
    hit_rate: float
    always_up: float
    hit_rate_above_always_up: Estimate
    sharpe: Estimate | None
    sharpe_above_class_frequencies: Estimate | None
    says: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "start": self.start.isoformat(), "says": list(self.says)}


def of(result: Result, bars: Bars, models: Sequence[Any]) -> Evidence | None:
    """The evidence of a backtest of the tiers; `models` serve the symbols, each judged by the labels of its own card.

    None where the models have no cards, or fewer than `MIN_BARS` bars behind their training have a known outcome.
    """
    if result.log is None or not all(hasattr(model, "card") for model in models):
        return None
    first = result.n_seen
    moved = adjusted(bars)
    judged = [_judged(moved, model, column) for column, model in enumerate(models)]
    offset = bars.n_bars - len(result.bar_ts) + first
    outcome, forward, width = (np.stack(each, axis=1)[offset:] for each in zip(*judged, strict=True))
    said = result.log.probability[first:]
    known = (outcome != labels.UNKNOWN) & np.isfinite(said).all(axis=2)
    if known.any(axis=1).sum() < MIN_BARS:
        return None
    prior = np.broadcast_to(np.array([model.card.prior for model in models]), said.shape)
    block = 2 * _horizon_rows(bars.close[offset:], [model.card.horizon_bars for model in models], known)
    by_width = np.full(known.shape, np.nan)
    for column, rows in enumerate(known.T):
        if rows.any():
            by_width[rows, column] = _moves_by_width(width[rows, column], outcome[rows, column] != HOLD)
    return _measured(result, first, (said, prior, by_width, outcome, forward, known), block)


def _horizon_rows(close: FloatArray, horizons: Sequence[int], known: BoolArray) -> int:
    """The rows that a horizon takes, which counts a symbol's own bars, in the mean over the `known` forecasts."""
    taken, counts = [], known.sum(axis=0)
    for column, horizon in enumerate(horizons):
        own = np.flatnonzero(np.isfinite(close[:, column]))
        rows = own[horizon:] - own[:-horizon]
        taken.append(float(rows.mean()) if len(rows) else float(horizon))
    return round(float(np.average(taken, weights=counts)))


def _judged(bars: Bars, model: Any, column: int) -> tuple[OutcomeArray, FloatArray, FloatArray]:
    """(n_bars,) outcome and move of one symbol, as the model was trained to name them, and (n_bars, 3) `_width`."""
    card, close = model.card, bars.close[:, column]
    n = int(card.params["volatility_bars"])
    made = labels.make(close[:, None], horizon_bars=card.horizon_bars, theta=card.theta, volatility_bars=n)
    return made.outcome[:, 0], made.forward[:, 0], _width(close, n)


def _width(close: FloatArray, n: int) -> FloatArray:
    """(n_bars, 3) how wide a threshold of n bars' volatility is: 1, and its logarithm beside two longer volatilities.

    These are of the last `LONG_BARS` own bars, as many as there are. NaN where there is no bar.
    """
    out = np.full((len(close), 3), np.nan)
    rows = np.flatnonzero(np.isfinite(close))
    summed = np.concatenate([[0.0, 0.0], np.cumsum(np.diff(np.log(close[rows])) ** 2)])[: len(rows) + 1]
    after = np.arange(1, len(summed))
    mean = [
        (summed[after] - summed[np.maximum(after - back, 0)]) / np.clip(after - 1, 1, back) for back in (n, *LONG_BARS)
    ]
    short, long, longer = 0.5 * np.log(np.maximum(mean, _FLOOR**2))
    out[rows] = np.stack([np.ones_like(short), short - long, short - longer], axis=1)
    return out


def _moves_by_width(width: FloatArray, moved: BoolArray) -> FloatArray:
    """(n,) chances of a move of one symbol by the (n, 3) width: a logistic function that is fitted to what came.

    It is fitted to the forecasts that it is judged on, so it is more than anybody could have known.
    """

    def loss(factors: FloatArray) -> tuple[float, FloatArray]:
        at = width @ factors
        slope = width.T @ (expit(at) - moved) / len(at) + _RIDGE * factors
        return float((np.logaddexp(0.0, at) - moved * at).mean() + _RIDGE / 2.0 * factors @ factors), slope

    return np.asarray(expit(width @ minimize(loss, np.zeros(width.shape[1]), jac=True, method="BFGS").x))


def _measured(result: Result, first: int, given: tuple[Any, ...], block: int) -> Evidence:
    said, prior, by_width, outcome, forward, known = given
    mine, naive = _losses(said, outcome), _losses(prior, outcome)
    width = -np.log(np.maximum(np.where(outcome == HOLD, 1.0 - by_width, by_width), _FLOOR))
    lean = np.sign(said[:, :, BUY] - said[:, :, SELL])
    up, right = forward > 0.0, lean * forward > 0.0  # no move is neither side's
    parts = [naive[place] - mine[place] for place in (0, 1)]
    losses = np.stack([sum(parts), *parts, width - mine[0], sum(mine), sum(naive)], axis=2)
    counts = _sums_by_bar(np.stack([right.astype(np.float64) - up, right, up, known], axis=2), known)
    by_bar = np.hstack([_sums_by_bar(losses, known) / counts[:, -1:], counts])
    means, drawn = (_with_shares(each) for each in (by_bar.mean(axis=0), block_means(by_bar, block)))
    gain, moving, direction, beyond, above = (estimate(means[k], drawn[:, k]) for k in (0, 1, 2, 3, 6))
    sharpe, above_frequencies = _sharpes(result.lead, block)
    return Evidence(
        start=result.run.ts[first],
        n_bars=len(by_bar),
        n_forecasts=int(known.sum()),
        gain=gain,
        gain_on_moving=moving,
        gain_beyond_width=beyond,
        gain_on_direction=direction,
        hit_rate_above_always_up=above,
        hit_rate=float(means[7]),
        always_up=float(means[8]),
        log_loss=float(means[4]),
        class_frequencies_log_loss=float(means[5]),
        sharpe=sharpe,
        sharpe_above_class_frequencies=above_frequencies,
        says=(*what_it_knows(gain, moving, beyond, direction, above), *what_it_earns(sharpe, above_frequencies)),
    )


def _losses(probability: FloatArray, outcome: OutcomeArray) -> tuple[FloatArray, FloatArray]:
    """(n_bars, n_symbols) log loss of "will it move?", and of "where to?" where it moved, 0 where it did not."""
    p = np.maximum(probability, _FLOOR)
    moved = outcome != HOLD
    moving = -np.log(np.where(moved, p[:, :, SELL] + p[:, :, BUY], p[:, :, HOLD]))
    there = np.where(outcome == BUY, p[:, :, BUY], p[:, :, SELL])
    return moving, np.where(moved, -np.log(there / (p[:, :, SELL] + p[:, :, BUY])), 0.0)


def _sums_by_bar(values: FloatArray, known: BoolArray) -> FloatArray:
    """(n_bars, n_figures) sums over the known symbols of each bar that has one."""
    out: FloatArray = np.where(known[:, :, None], values, 0.0).sum(axis=1)[known.any(axis=1)]
    return out


def _with_shares(means: FloatArray) -> FloatArray:
    """(..., n_figures) the losses, and what is counted behind them as shares of the last count, of the forecasts."""
    return np.concatenate([means[..., :_N_LOSSES], means[..., _N_LOSSES:-1] / means[..., -1:]], axis=-1)


def block_means(values: FloatArray, block: int, *, seed: int = SEED, n_resamples: int = N_RESAMPLES) -> FloatArray:
    """(n_resamples, k) means of n // block blocks drawn from (n, k) values, each of `block` rows that follow on.

    Of few values the blocks are shorter, so that there are `LEAST_BLOCKS`: of two no spread can be seen.

    Source: H. R. Kuensch, "The jackknife and the bootstrap for general stationary observations", Annals of
    Statistics 17, 1989.
    """
    n, block = len(values), max(1, min(block, len(values) // LEAST_BLOCKS))
    summed = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    of_block = (summed[block:] - summed[:-block]) / block
    rng, n_blocks = np.random.default_rng(seed), n // block
    rows = max(1, _CHUNK // n_blocks)
    parts = [
        of_block[rng.integers(0, len(of_block), size=(min(rows, n_resamples - start), n_blocks))].mean(axis=1)
        for start in range(0, n_resamples, rows)
    ]
    return np.concatenate(parts)


def estimate(value: float, drawn: FloatArray) -> Estimate:
    """The value with the quantiles of what was drawn."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Estimate(value=float(value), low=float(low), high=float(high))


def _sharpes(result: Result, block: int) -> tuple[Estimate | None, Estimate | None]:
    """The Sharpe ratio that leads the backtest, and how far it is above that of class frequencies."""
    if result.frequencies is None:
        return None, None
    per_year, curves = result.sampling.per_year, [run.run.equity_curve for run in (result, result.frequencies)]
    if not all(bool((curve > 0.0).all()) for curve in curves):
        return None, None
    returns = np.stack([metrics.simple_returns(curve, result.sampling.rows) for curve in curves], axis=1)
    block = round(block * len(returns) / len(curves[0]))  # a session day of stocks and coins has several rows
    mine, theirs = (metrics.sharpe(column, per_year) for column in returns.T)
    if mine is None:
        return None, None
    drawn = block_means(np.concatenate([returns, returns**2], axis=1), block)
    spread = np.sqrt(np.maximum(drawn[:, 2:] - drawn[:, :2] ** 2, _FLOOR**2))
    ratios = drawn[:, :2] / spread * math.sqrt(per_year * (1.0 - 1.0 / len(returns)))  # the spread with n - 1
    above = None if theirs is None else estimate(mine - theirs, ratios[:, 0] - ratios[:, 1])
    return estimate(mine, ratios[:, 0]), above


# --- in words ---


def what_it_knows(
    gain: Estimate, moving: Estimate, beyond: Estimate, direction: Estimate, above: Estimate
) -> list[str]:
    """What the gains say to somebody who has never seen a log loss."""
    goes = direction.sign > 0 and above.sign >= 0
    scaled = [YARDSTICK] if moving.sign > 0 and beyond.sign <= 0 else []
    if gain.sign < 0:
        knows = "knows less than how often prices rose and fell"
    elif scaled and goes:
        knows = "knows something of where prices go, and when nothing will happen as far as its threshold tells that"
    elif scaled:
        knows = "knows when nothing will happen as far as its threshold tells that, not where prices go"
    elif moving.sign > 0 and goes:
        knows = "knows something of when prices move, and of where they go"
    elif moving.sign > 0:
        knows = "knows when nothing will happen, not where prices go"
    elif goes:
        knows = "knows something of where prices go, not of when they move"
    else:
        knows = "is not shown to know more than how often prices rose and fell"
    parts = ((moving, "of when prices move"), (direction, "of where they go"))
    worse = " and ".join(what for part, what in parts if part.sign < 0)
    costs = [f"Its opinion {worse} is worse than none, which is class frequencies."] if worse else []
    names = {
        1: 'It is right about the side of a move more often than always saying "up" is.',
        0: 'It is open whether it is right about the side of a move more often than always saying "up" is.',
        -1: 'It is right about the side of a move less often than always saying "up" is.',
    }
    same = 'It is right about the side of a move as often as always saying "up" is.'
    named = same if above.low == above.high == 0.0 else names[above.sign]
    return [f"On bars that it did not see, this model {knows}.", *scaled, *costs, named]


def what_it_earns(sharpe: Estimate | None, above: Estimate | None) -> list[str]:
    """What the ratios to risk say, and how sure they are."""
    found = []
    if sharpe is not None:
        interval = f"from {sharpe.low:,.2f} to {sharpe.high:,.2f}"
        found.append(f"The backtest's Sharpe ratio is {sharpe.value:,.2f}, with a 95 % interval {interval}.")
    if above is not None:
        other = "the same pipeline without the model's opinion (class frequencies)"
        earns = {
            1: f"For its risk it earned more than {other}.",
            0: f"It is open whether it earned more for its risk than {other}.",
            -1: f"For its risk it earned less than {other}.",
        }
        found.append(earns[above.sign])
    return found
