"""Every feature again, written down slowly: one row at a time, in plain Python, from the textbook formula."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

Series = Sequence[float]


@dataclass
class Plain:
    """One symbol's bars as lists."""

    ts: list[datetime]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]

    def r(self, t: int) -> float:
        return math.log(self.close[t] / self.close[t - 1])

    def returns(self, t: int, n: int) -> list[float]:
        return [self.r(i) for i in range(t - n + 1, t + 1)]

    def tr(self, t: int) -> float:
        before = self.close[t - 1]
        return max(self.high[t], before) - min(self.low[t], before)

    def atr(self, t: int) -> float:
        return sum(self.tr(i) for i in range(t - 13, t + 1)) / 14

    def sd(self, t: int, n: int) -> float:
        return statistics.pstdev(self.returns(t, n))

    def typical(self, t: int) -> float:
        return (self.high[t] + self.low[t] + self.close[t]) / 3

    def position(self, t: int, n: int) -> float:
        top, bottom = max(self.high[t - n + 1 : t + 1]), min(self.low[t - n + 1 : t + 1])
        return (2 * self.close[t] - top - bottom) / (top - bottom)


def ema(values: Series, n: int) -> list[float]:
    """Seeded with the mean of the first n; NaN before."""
    out = [math.nan] * (n - 1) + [sum(values[:n]) / n]
    for value in values[n:]:
        out.append(out[-1] + (value - out[-1]) * 2 / (n + 1))
    return out


def ema_after(values: Series, n: int) -> list[float]:
    """`ema` of a series that begins with NaN."""
    start = next(i for i, value in enumerate(values) if not math.isnan(value))
    return [math.nan] * start + ema(values[start:], n)


def _wilder(values: Series, n: int) -> list[float]:
    """Wilder's running sum: the first n summed, then less an n-th of itself plus the new value."""
    total = sum(values[:n])
    out = [total]
    for value in values[n:]:
        total += value - total / n
        out.append(total)
    return out


def rsi(p: Plain, t: int) -> float:
    changes = [b - a for a, b in zip(p.close[:t], p.close[1 : t + 1], strict=True)]
    up, down = (_wilder([max(sign * c, 0.0) for c in changes], 14)[-1] for sign in (1, -1))
    return 2 * up / (up + down) - 1


def _exact(price: float) -> Decimal:
    """The price as it is written, in whole ticks."""
    return Decimal(repr(float(price)))


def _directional(p: Plain, t: int) -> tuple[list[float], list[float], list[float]]:
    plus, minus, tr = [], [], []
    for i in range(1, t + 1):
        up, down = _exact(p.high[i]) - _exact(p.high[i - 1]), _exact(p.low[i - 1]) - _exact(p.low[i])
        plus.append(float(up) if up > down and up > 0 else 0.0)
        minus.append(float(down) if down > up and down > 0 else 0.0)
        tr.append(p.tr(i))
    return plus, minus, tr


def _smoothed(values: Series) -> list[float]:
    """TA-Lib seeds directional movement with 13 bars, then runs Wilder's sum."""
    total = sum(values[:13])
    out = []
    for value in values[13:]:
        total += value - total / 14
        out.append(total)
    return out


def di_balance(p: Plain, t: int) -> float:
    plus, minus, tr = (_smoothed(x)[-1] for x in _directional(p, t))
    return (plus - minus) / tr


def adx(p: Plain, t: int) -> float:
    plus, minus, _ = (_smoothed(x) for x in _directional(p, t))
    dx = [abs(a - b) / (a + b) for a, b in zip(plus, minus, strict=True)]
    value = sum(dx[:14]) / 14
    for one in dx[14:]:
        value = (value * 13 + one) / 14
    return value


def aroon(p: Plain, t: int) -> float:
    highs, lows = p.high[t - 25 : t + 1], p.low[t - 25 : t + 1]
    since = [25 - max(i for i, x in enumerate(w) if x == pick(w)) for w, pick in ((highs, max), (lows, min))]
    return (since[1] - since[0]) / 25


def cci(p: Plain, t: int) -> float:
    window = [p.typical(i) for i in range(t - 19, t + 1)]
    centre = sum(window) / 20
    return (p.typical(t) - centre) / (0.015 * sum(abs(x - centre) for x in window) / 20) / 100


def macd_histogram(p: Plain, t: int) -> float:
    # TA-Lib starts both averages together, at the bar where the slow one has its first value.
    slow = ema(p.close, 26)
    fast = [math.nan] * 25 + [sum(p.close[14:26]) / 12]
    for value in p.close[26:]:
        fast.append(fast[-1] + (value - fast[-1]) * 2 / 13)
    line = [a - b for a, b in zip(fast, slow, strict=True)]
    return (line[t] - ema_after(line, 9)[t]) / p.atr(t)


def trix(p: Plain, t: int) -> float:
    third = ema_after(ema_after(ema(p.close, 9), 9), 9)
    return (third[t] / third[t - 1] - 1) / p.sd(t, 20)


def slope(values: Series) -> float:
    n = len(values)
    centre, mean = (n - 1) / 2, sum(values) / n
    return sum((i - centre) * (v - mean) for i, v in enumerate(values)) / sum((i - centre) ** 2 for i in range(n))


def moment(values: Series, order: int) -> float:
    centre = sum(values) / len(values)
    return sum((v - centre) ** order for v in values) / len(values)


def _tilde(a: float, b: float) -> float:
    return (a - b) / (a + b)


def _pressure(p: Plain, t: int, n: int, weight: Callable[[int], float]) -> float:
    window = range(t - n + 1, t + 1)
    return sum(weight(i) * p.volume[i] for i in window) / sum(p.volume[i] for i in window)


def mfi(p: Plain, t: int) -> float:
    exact = [sum(map(_exact, (p.high[i], p.low[i], p.close[i]))) for i in range(t - 14, t + 1)]
    flow = [
        p.typical(i) * p.volume[i] * ((now > before) - (now < before))
        for i, (before, now) in zip(range(t - 13, t + 1), pairwise(exact), strict=True)
    ]
    return sum(flow) / sum(abs(f) for f in flow) if any(flow) else 0.0


def _location(p: Plain, t: int) -> float:
    return (2 * p.close[t] - p.high[t] - p.low[t]) / (p.high[t] - p.low[t])


def _illiquidity(p: Plain, t: int, n: int) -> float:
    window = range(t - n + 1, t + 1)
    return sum(abs(p.r(i)) for i in window) / sum(p.close[i] * p.volume[i] for i in window)


def garman_klass(p: Plain, t: int) -> float:
    terms = [
        math.log(p.high[i] / p.low[i]) ** 2 / 2 - (2 * math.log(2) - 1) * math.log(p.close[i] / p.open[i]) ** 2
        for i in range(t - 19, t + 1)
    ]
    return math.sqrt(sum(terms) / 20)


def streak(p: Plain, t: int) -> float:
    signs = [math.copysign(1, p.close[i] - p.close[i - 1]) for i in range(t, t - 8, -1)]
    run = next((i for i, s in enumerate(signs) if s != signs[0]), 8)
    return signs[0] * run / 8


def autocorrelation(p: Plain, t: int) -> float:
    return statistics.correlation(p.returns(t, 60), p.returns(t - 1, 60))


def variance_ratio(p: Plain, t: int) -> float:
    returns = p.returns(t, 60)
    mean = sum(returns) / 60
    five = sum((sum(returns[i : i + 5]) - 5 * mean) ** 2 for i in range(56))
    return _tilde(five / (5 * 56 * (1 - 5 / 60)), statistics.variance(returns))


def _scaled(n: int) -> Callable[[Plain, int], float]:
    return lambda p, t: math.log(p.close[t] / p.close[t - n]) / (p.sd(t, 20) * math.sqrt(n))


def _levels(p: Plain, t: int) -> list[float]:
    return p.close[t - 19 : t + 1]


def _wave(wave: Callable[[float], float], seconds: int) -> Callable[[Plain, int], float]:
    def value(p: Plain, t: int) -> float:
        monday = datetime(1969, 12, 29)  # noqa: DTZ001 - the series is naive UTC throughout
        return wave(2 * math.pi * ((p.ts[t] - monday).total_seconds() % seconds) / seconds)

    return value


TWINS: dict[str, Callable[[Plain, int], float]] = {
    "return_1": _scaled(1),
    "return_5": _scaled(5),
    "return_20": _scaled(20),
    "return_60": _scaled(60),
    "rsi_14": rsi,
    "stoch_k_14": lambda p, t: p.position(t, 14),
    "stoch_d_14": lambda p, t: sum(p.position(i, 14) for i in (t - 2, t - 1, t)) / 3,
    "cci_20": cci,
    "macd_line": lambda p, t: (ema(p.close, 12)[t] - ema(p.close, 26)[t]) / p.atr(t),
    "macd_histogram": macd_histogram,
    "trix_9": trix,
    "adx_14": adx,
    "di_balance_14": di_balance,
    "aroon_25": aroon,
    "ema_gap_10": lambda p, t: (p.close[t] - ema(p.close, 10)[t]) / p.atr(t),
    "ema_gap_26": lambda p, t: (p.close[t] - ema(p.close, 26)[t]) / p.atr(t),
    "sma_gap_50": lambda p, t: (p.close[t] - sum(p.close[t - 49 : t + 1]) / 50) / p.atr(t),
    "slope_20": lambda p, t: 20 * slope(_levels(p, t)) / p.atr(t),
    "trend_fit_20": lambda p, t: statistics.correlation(_levels(p, t), list(range(20))),
    "channel_55": lambda p, t: p.position(t, 55),
    "efficiency_20": lambda p, t: (
        (p.close[t] - p.close[t - 20]) / sum(abs(p.close[i] - p.close[i - 1]) for i in range(t - 19, t + 1))
    ),
    "atr_14": lambda p, t: p.atr(t) / p.close[t],
    "volatility_20": lambda p, t: p.sd(t, 20),
    "volatility_ratio_10_60": lambda p, t: _tilde(p.sd(t, 10), p.sd(t, 60)),
    "parkinson_20": lambda p, t: math.sqrt(
        sum(math.log(p.high[i] / p.low[i]) ** 2 for i in range(t - 19, t + 1)) / 20 / (4 * math.log(2))
    ),
    "garman_klass_20": garman_klass,
    "bollinger_z_20": lambda p, t: (p.close[t] - statistics.fmean(_levels(p, t))) / statistics.pstdev(_levels(p, t)),
    "squeeze_20": lambda p, t: statistics.pstdev(_levels(p, t)) / p.atr(t),
    "true_range_ratio": lambda p, t: p.tr(t) / p.atr(t),
    "downside_share_20": lambda p, t: (
        sum(min(r, 0) ** 2 for r in p.returns(t, 20)) / sum(r**2 for r in p.returns(t, 20))
    ),
    "relative_volume_20": lambda p, t: _tilde(p.volume[t], sum(p.volume[t - 19 : t + 1]) / 20),
    "volume_trend_5_20": lambda p, t: _tilde(sum(p.volume[t - 4 : t + 1]) / 5, sum(p.volume[t - 19 : t + 1]) / 20),
    "mfi_14": mfi,
    "signed_volume_20": lambda p, t: _pressure(p, t, 20, lambda i: math.copysign(1, p.close[i] - p.close[i - 1])),
    "money_flow_20": lambda p, t: _pressure(p, t, 20, lambda i: _location(p, i)),
    "vwap_gap_20": lambda p, t: (p.close[t] - _pressure(p, t, 20, p.typical)) / p.atr(t),
    "illiquidity_5_20": lambda p, t: _tilde(_illiquidity(p, t, 5), _illiquidity(p, t, 20)),
    "body_share": lambda p, t: (p.close[t] - p.open[t]) / (p.high[t] - p.low[t]),
    "upper_shadow": lambda p, t: (p.high[t] - max(p.open[t], p.close[t])) / (p.high[t] - p.low[t]),
    "lower_shadow": lambda p, t: (min(p.open[t], p.close[t]) - p.low[t]) / (p.high[t] - p.low[t]),
    "gap": lambda p, t: (p.open[t] - p.close[t - 1]) / p.atr(t),
    "streak_8": streak,
    "skew_60": lambda p, t: moment(p.returns(t, 60), 3) / p.sd(t, 60) ** 3,
    "kurtosis_60": lambda p, t: math.log(moment(p.returns(t, 60), 4) / (3 * p.sd(t, 60) ** 4)),
    "autocorrelation_60": autocorrelation,
    "variance_ratio_5_60": variance_ratio,
    "up_share_20": lambda p, t: sum(math.copysign(1, r) for r in p.returns(t, 20)) / 20,
    "drawdown_60": lambda p, t: math.log(p.close[t] / max(p.close[t - 59 : t + 1])) / p.sd(t, 20),
    "day_sin": _wave(math.sin, 86_400),
    "day_cos": _wave(math.cos, 86_400),
    "week_sin": _wave(math.sin, 604_800),
    "week_cos": _wave(math.cos, 604_800),
}
