"""Next-bar volatility of every symbol, the same number whether asked live or over the whole history.

No state is carried from bar to bar. The GARCH parameters at bar t are those fitted on the `window_bars` own
returns that end at anchor(t): the last own bar at or before t that begins a new bucket, where the bucket of a
bar is floor(epoch seconds / bucket_s). The filter starts with that window and runs through t. Every window of
bars that holds the anchor's window therefore gives the same value bit for bit, wherever it begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt

from tiers.contracts import FloatArray, IntArray, TimeArray, VolatilityPath, timeframes
from tiers.contracts.ended import LONGEST
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import VolatilityParams
from tiers.risk import garch as garch_model
from tiers.risk.ewma import ewma_variance

UNKNOWN, EWMA, GARCH = 0, 1, 2
METHODS = ("", "ewma", "garch")  # the name of each code


def window_bars(params: VolatilityParams, timeframe: str) -> int:
    """Own bars a symbol that a live call must load: the window, the longest bucket, and two to begin with."""
    return params.window_bars + math.ceil(params.bucket_s / timeframes.seconds(timeframe)) + 2


def volatility(
    ts: TimeArray,
    close: FloatArray,
    *,
    params: VolatilityParams,
    garch: bool,
    first_row: int = 0,
    cache: garch_model.FitCache | None = None,
) -> VolatilityPath:
    """Standard deviation of the next own bar's log return, known at each row's close.

    `ts` is (n_bars,) strictly increasing UTC closes, `close` (n_bars, n_symbols), NaN where a symbol has no
    bar. Only rows >= `first_row` are computed; earlier ones are NaN. A row without a bar repeats the symbol's
    last forecast, which still is the one for its next bar; more than a week later it has ended. NaN from there on,
    before `ewma_min_bars` returns, and where nothing moved. `garch=False` gives EWMA throughout. `cache` spares fits
    between calls and never changes a value. `DataError` for wrong shapes and for prices that are not positive.
    """
    _check_input(ts, close)
    n_bars, n_symbols = close.shape
    sigma, method = np.full((n_bars, n_symbols), np.nan), np.zeros((n_bars, n_symbols), dtype=np.int8)
    epoch_s = ts.astype("datetime64[us]").astype(np.int64) // 1_000_000
    rows = np.arange(first_row, n_bars)
    for j in range(n_symbols):
        own = np.flatnonzero(np.isfinite(close[:, j]))
        at = np.searchsorted(own, rows, side="right") - 1
        known = at >= 0
        known[known] = ts[rows[known]] - ts[own[at[known]]] <= LONGEST
        if not known.any():
            continue
        prices = np.ascontiguousarray(close[own, j])
        first = int(at[known][0])
        bucket = epoch_s[own] // params.bucket_s if garch else None
        values, codes = _own_volatility(prices, bucket, params=params, first=first, cache=cache)
        sigma[rows[known], j], method[rows[known], j] = values[at[known]], codes[at[known]]
    return VolatilityPath(sigma=sigma, method=method, names=METHODS, preferred=METHODS[GARCH] if garch else "")


def _check_input(ts: TimeArray, close: FloatArray) -> None:
    if close.ndim != 2 or ts.shape != (len(close),):
        raise DataError(f"close must be (n_bars, n_symbols) with n_bars = {len(ts)}, was {close.shape}")
    bad = np.argwhere(close <= 0)
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise DataError(f"close must be positive, was {close[row, column]} in row {row}, column {column}")


def _own_volatility(
    prices: FloatArray,
    bucket: IntArray | None,
    *,
    params: VolatilityParams,
    first: int,
    cache: garch_model.FitCache | None,
) -> tuple[FloatArray, npt.NDArray[np.int8]]:
    """Sigma and method of one symbol on its own bars, from bar `first` on; no GARCH without buckets."""
    returns = log_returns(prices)
    variance = np.full(len(prices), np.nan)
    codes = np.zeros(len(prices), dtype=np.int8)
    if bucket is not None:
        for begin, anchor, end, fit in _fits(returns, bucket, params=params, first=first, cache=cache):
            start = garch_model.start_variance(returns[begin : anchor + 1], mean=params.mean == "constant")
            path = garch_model.filter_variance(returns[begin:end], fit.parameters, start)
            variance[anchor:end], codes[anchor:end] = path[anchor - begin :], GARCH
    missing = codes == UNKNOWN
    if missing[first:].any():
        fallback = ewma_variance(returns, first, params.ewma_lambda, params.ewma_bars, params.ewma_min_bars)
        variance[missing], codes[missing] = fallback[missing], EWMA
    unusable = ~(variance > 0)
    variance[unusable], codes[unusable] = np.nan, UNKNOWN
    return np.sqrt(variance), codes


def _fits(
    returns: FloatArray,
    bucket: IntArray,
    *,
    params: VolatilityParams,
    first: int,
    cache: garch_model.FitCache | None,
) -> Iterator[tuple[int, int, int, garch_model.GarchFit]]:
    """Window begin, anchor, bucket end and fit of every fitted bucket that reaches bar `first` or later."""
    anchors = [int(k) for k in np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))]
    for anchor, end in pairwise([*anchors, len(bucket)]):
        if end <= first or anchor < params.min_returns:  # bar k has k returns behind it
            continue
        begin = max(1, anchor - params.window_bars + 1)
        window = np.ascontiguousarray(returns[begin : anchor + 1])
        fit = garch_model.fit_cached(window, mean=params.mean, cache=cache)
        if fit is not None:
            yield begin, anchor, end, fit


@numba.njit(cache=True)
def log_returns(prices: FloatArray) -> FloatArray:
    """Log return into each of (n,) bars; NaN at the first.

    One value at a time: a vectorised logarithm may round differently at another place in the array.
    """
    out = np.full(len(prices), np.nan)
    for k in range(1, len(prices)):
        out[k] = math.log(prices[k] / prices[k - 1])
    return out
