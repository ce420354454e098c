"""What the model learns to say: did the price move more than its own volatility lets expect?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiers.contracts import BUY, HOLD, SELL, FloatArray

UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Outcomes on the timeline of the prices; all arrays are (n_bars, n_symbols).

    `outcome` is SELL, HOLD, BUY or UNKNOWN. `forward` is the log return over the horizon and `trailing` the one
    over as many bars before, both in units of the threshold's volatility (NaN where unknown). `known_at` is the
    row at which the outcome is known: a sample's label spans the rows t to `known_at[t]`.
    """

    outcome: npt.NDArray[np.int8]
    forward: FloatArray
    trailing: FloatArray
    known_at: npt.NDArray[np.int64]


def make(close: FloatArray, *, horizon_bars: int, theta: float, volatility_bars: int) -> Labels:
    """Labels of every bar: BUY where forward > theta, SELL where forward < -theta, else HOLD.

    `forward` is ln(close[t + h] / close[t]) / (sigma[t] sqrt(h)), sigma the root mean square of the last
    `volatility_bars` log returns; h counts a symbol's own bars. A missing close, a sigma of zero, the first
    `volatility_bars` and the last h own bars are UNKNOWN. Source: the fixed-horizon method with a volatility
    threshold, Lopez de Prado 2018, ch. 3.
    """
    if close.ndim != 2:
        raise ValueError(f"close must be (n_bars, n_symbols), was {close.shape}")
    if horizon_bars < 1 or volatility_bars < 1 or theta < 0:
        wanted = "horizon_bars >= 1, volatility_bars >= 1 and theta >= 0"
        raise ValueError(f"labels need {wanted}, were {horizon_bars}, {volatility_bars} and {theta}")
    outcome = np.full(close.shape, UNKNOWN, dtype=np.int8)
    forward, trailing = np.full(close.shape, np.nan), np.full(close.shape, np.nan)
    known_at = np.full(close.shape, UNKNOWN, dtype=np.int64)
    for symbol in range(close.shape[1]):
        rows = np.flatnonzero(~np.isnan(close[:, symbol]))
        ahead, behind = _moves(np.log(close[rows, symbol]), horizon_bars, volatility_bars)
        forward[rows, symbol], trailing[rows, symbol] = ahead, behind
        outcome[rows, symbol] = classify(ahead, theta)
        known_at[rows[:-horizon_bars], symbol] = rows[horizon_bars:]
    return Labels(outcome=outcome, forward=forward, trailing=trailing, known_at=known_at)


def classify(move: FloatArray, theta: float) -> npt.NDArray[np.int8]:
    """SELL, HOLD or BUY for moves in volatilities; UNKNOWN where NaN."""
    choices = [np.isnan(move), move > theta, move < -theta]
    return np.select(choices, [UNKNOWN, BUY, SELL], HOLD).astype(np.int8)


def _moves(log_close: FloatArray, horizon: int, n: int) -> tuple[FloatArray, FloatArray]:
    """Forward and trailing moves over `horizon` own bars, both in units of the volatility known at the bar."""
    forward, trailing = np.full(log_close.shape, np.nan), np.full(log_close.shape, np.nan)
    if len(log_close) <= n:
        return forward, trailing
    square = np.lib.stride_tricks.sliding_window_view(np.diff(log_close) ** 2, n).mean(axis=1)
    sigma = np.full(log_close.shape, np.nan)
    sigma[n:] = np.sqrt(square)
    sigma[sigma == 0] = np.nan
    unit = sigma * np.sqrt(horizon)
    move = log_close[horizon:] - log_close[:-horizon]
    forward[:-horizon] = move / unit[:-horizon]
    trailing[horizon:] = move / unit[horizon:]
    return forward, trailing
