"""Every feature a second time, in plain Python: lists, loops, one bar after the other, from the formulas' texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import cos, log, pi, sin, sqrt
from statistics import fmean, pstdev

from tiers.contracts import Bars

Twin = Callable[["Plain", int], float]


class Plain:
    """One symbol's bars as lists; `t` is the row that is asked for."""

    def __init__(self, bars: Bars) -> None:
        self.o, self.h, self.l, self.c, self.v = (
            [float(value) for value in values[:, 0]]
            for values in (bars.open, bars.high, bars.low, bars.close, bars.volume)
        )
        self.when = [datetime.fromtimestamp(int(stamp.astype(int)) / 1e6, tz=UTC) for stamp in bars.ts]
        self.tp = [(h + low + c) / 3 for h, low, c in zip(self.h, self.l, self.c, strict=True)]

    def r(self, t: int) -> float:
        return log(self.c[t] / self.c[t - 1])

    def returns(self, t: int, n: int) -> list[float]:
        return [self.r(row) for row in range(t - n + 1, t + 1)]

    def changes(self, t: int, n: int) -> list[float]:
        return [self.c[row] - self.c[row - 1] for row in range(t - n + 1, t + 1)]

    def sd(self, t: int, n: int = 20) -> float:
        return pstdev(self.returns(t, n))

    def tr(self, t: int) -> float:
        before = self.c[t - 1]
        return max(self.h[t], before) - min(self.l[t], before)

    def atr(self, t: int) -> float:
        return fmean(self.tr(row) for row in range(t - 13, t + 1))

    def place(self, t: int, n: int) -> float:
        top, bottom = max(last(self.h, t, n)), min(last(self.l, t, n))
        return (2 * self.c[t] - top - bottom) / (top - bottom)


def last(values: Sequence[float], t: int, n: int) -> Sequence[float]:
    return values[t - n + 1 : t + 1]


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def tilt(one: float, other: float) -> float:
    return (one - other) / (one + other)


def ema(values: Sequence[float], n: int) -> list[float]:
    """Exponential averages from the n-th value on, the first being the plain mean."""
    out = [fmean(values[:n])]
    for value in values[n:]:
        out.append(out[-1] + (value - out[-1]) * 2 / (n + 1))
    return out


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    a, b = fmean(one), fmean(other)
    shared = fmean((x - a) * (y - b) for x, y in zip(one, other, strict=True))
    return shared / (pstdev(one) * pstdev(other))


def rsi(p: Plain, t: int) -> float:
    moves = p.changes(t, t)
    gain, loss = fmean(max(m, 0) for m in moves[:14]), fmean(max(-m, 0) for m in moves[:14])
    for move in moves[14:]:
        gain, loss = (13 * gain + max(move, 0)) / 14, (13 * loss + max(-move, 0)) / 14
    return 2 * gain / (gain + loss) - 1


def directions(p: Plain, t: int) -> list[tuple[float, float]]:
    """+DI and -DI, 0 to 1, from bar 14 to bar t: Wilder's sums, begun with the first 13 moves."""
    plus = minus = ranges = 0.0
    out = []
    for row in range(1, t + 1):
        up, down = p.h[row] - p.h[row - 1], p.l[row - 1] - p.l[row]
        keep = 1.0 if row < 14 else 13 / 14
        plus = keep * plus + (up if up > max(down, 0) else 0.0)
        minus = keep * minus + (down if down > max(up, 0) else 0.0)
        ranges = keep * ranges + p.tr(row)
        if row >= 14:
            out.append((plus / ranges, minus / ranges))
    return out


def adx(p: Plain, t: int) -> float:
    strength = [abs(plus - minus) / (plus + minus) for plus, minus in directions(p, t)]
    average = fmean(strength[:14])
    for value in strength[14:]:
        average = (13 * average + value) / 14
    return average


def di_balance(p: Plain, t: int) -> float:
    plus, minus = directions(p, t)[-1]
    return plus - minus


def macd_histogram(p: Plain, t: int) -> float:
    closes = p.c[: t + 1]
    line = [fast - slow for fast, slow in zip(ema(closes[14:], 12), ema(closes, 26), strict=True)]
    return (line[-1] - ema(line, 9)[-1]) / p.atr(t)


def trix(p: Plain, t: int) -> float:
    triple = ema(ema(ema(p.c[: t + 1], 9), 9), 9)
    return (triple[-1] / triple[-2] - 1) / p.sd(t)


def cci(p: Plain, t: int) -> float:
    window = last(p.tp, t, 20)
    middle = fmean(window)
    return (p.tp[t] - middle) / (0.015 * fmean(abs(value - middle) for value in window)) / 100


def aroon(p: Plain, t: int) -> float:
    highs, lows = last(p.h, t, 26), last(p.l, t, 26)
    return (highs.index(max(highs)) - lows.index(min(lows))) / 25


def slope(p: Plain, t: int) -> float:
    window, middle = last(p.c, t, 20), 19 / 2
    steepness = sum((x - middle) * y for x, y in enumerate(window)) / sum((x - middle) ** 2 for x in range(20))
    return 20 * steepness / p.atr(t)


def garman_klass(p: Plain, t: int) -> float:
    rows = range(t - 19, t + 1)
    return sqrt(
        fmean(log(p.h[i] / p.l[i]) ** 2 / 2 - (2 * log(2) - 1) * log(p.c[i] / p.o[i]) ** 2 for i in rows),
    )


def mfi(p: Plain, t: int) -> float:
    flows = [sign(p.tp[i] - p.tp[i - 1]) * p.tp[i] * p.v[i] for i in range(t - 13, t + 1)]
    return sum(flows) / sum(abs(flow) for flow in flows)


def money_flow(p: Plain, t: int) -> float:
    rows = range(t - 19, t + 1)
    flow = sum((2 * p.c[i] - p.h[i] - p.l[i]) / (p.h[i] - p.l[i]) * p.v[i] for i in rows)
    return flow / sum(last(p.v, t, 20))


def vwap_gap(p: Plain, t: int) -> float:
    paid = sum(p.tp[i] * p.v[i] for i in range(t - 19, t + 1)) / sum(last(p.v, t, 20))
    return (p.c[t] - paid) / p.atr(t)


def illiquidity(p: Plain, t: int, n: int) -> float:
    return sum(abs(r) for r in p.returns(t, n)) / sum(p.c[i] * p.v[i] for i in range(t - n + 1, t + 1))


def streak(p: Plain, t: int) -> float:
    moves = [sign(move) for move in p.changes(t, 8)][::-1]
    length = next((back for back, move in enumerate(moves) if move != moves[0]), 8)
    return moves[0] * length / 8


def moment(p: Plain, t: int, power: int) -> float:
    window = p.returns(t, 60)
    middle = fmean(window)
    return fmean((r - middle) ** power for r in window)


def five_bars(p: Plain, t: int) -> float:
    return pstdev(log(p.c[i] / p.c[i - 5]) for i in range(t - 59, t + 1)) ** 2 / 5


def around(part: float) -> float:
    return 2 * pi * part


def of_day(p: Plain, t: int) -> float:
    return (p.when[t].hour + p.when[t].minute / 60 + p.when[t].second / 3600) / 24


def of_week(p: Plain, t: int) -> float:
    return (p.when[t].weekday() + of_day(p, t)) / 7


def moved(n: int) -> Twin:
    return lambda p, t: log(p.c[t] / p.c[t - n]) / (p.sd(t) * sqrt(n))


TWINS: dict[str, Twin] = {
    **{f"return_{n}": moved(n) for n in (1, 5, 20, 60)},
    "rsi_14": rsi,
    "stoch_k_14": lambda p, t: p.place(t, 14),
    "stoch_d_14": lambda p, t: fmean(p.place(row, 14) for row in range(t - 2, t + 1)),
    "cci_20": cci,
    "macd_line": lambda p, t: (ema(p.c[: t + 1], 12)[-1] - ema(p.c[: t + 1], 26)[-1]) / p.atr(t),
    "macd_histogram": macd_histogram,
    "trix_9": trix,
    "adx_14": adx,
    "di_balance_14": di_balance,
    "aroon_25": aroon,
    "ema_gap_10": lambda p, t: (p.c[t] - ema(p.c[: t + 1], 10)[-1]) / p.atr(t),
    "ema_gap_26": lambda p, t: (p.c[t] - ema(p.c[: t + 1], 26)[-1]) / p.atr(t),
    "sma_gap_50": lambda p, t: (p.c[t] - fmean(last(p.c, t, 50))) / p.atr(t),
    "slope_20": slope,
    "trend_fit_20": lambda p, t: correlation(last(p.c, t, 20), range(20)),
    "channel_55": lambda p, t: p.place(t, 55),
    "efficiency_20": lambda p, t: (p.c[t] - p.c[t - 20]) / sum(abs(move) for move in p.changes(t, 20)),
    "atr_14": lambda p, t: p.atr(t) / p.c[t],
    "volatility_20": lambda p, t: p.sd(t),
    "volatility_ratio_10_60": lambda p, t: tilt(p.sd(t, 10), p.sd(t, 60)),
    "parkinson_20": lambda p, t: sqrt(
        fmean(log(p.h[i] / p.l[i]) ** 2 for i in range(t - 19, t + 1)) / (4 * log(2)),
    ),
    "garman_klass_20": garman_klass,
    "bollinger_z_20": lambda p, t: (p.c[t] - fmean(last(p.c, t, 20))) / pstdev(last(p.c, t, 20)),
    "squeeze_20": lambda p, t: pstdev(last(p.c, t, 20)) / p.atr(t),
    "true_range_ratio": lambda p, t: p.tr(t) / p.atr(t),
    "downside_share_20": lambda p, t: (
        sum(r * r for r in p.returns(t, 20) if r < 0) / sum(r * r for r in p.returns(t, 20))
    ),
    "relative_volume_20": lambda p, t: tilt(p.v[t], fmean(last(p.v, t, 20))),
    "volume_trend_5_20": lambda p, t: tilt(fmean(last(p.v, t, 5)), fmean(last(p.v, t, 20))),
    "mfi_14": mfi,
    "signed_volume_20": lambda p, t: (
        sum(sign(p.c[i] - p.c[i - 1]) * p.v[i] for i in range(t - 19, t + 1)) / sum(last(p.v, t, 20))
    ),
    "money_flow_20": money_flow,
    "vwap_gap_20": vwap_gap,
    "illiquidity_5_20": lambda p, t: tilt(illiquidity(p, t, 5), illiquidity(p, t, 20)),
    "body_share": lambda p, t: (p.c[t] - p.o[t]) / (p.h[t] - p.l[t]),
    "upper_shadow": lambda p, t: (p.h[t] - max(p.o[t], p.c[t])) / (p.h[t] - p.l[t]),
    "lower_shadow": lambda p, t: (min(p.o[t], p.c[t]) - p.l[t]) / (p.h[t] - p.l[t]),
    "gap": lambda p, t: (p.o[t] - p.c[t - 1]) / p.atr(t),
    "streak_8": streak,
    "skew_60": lambda p, t: moment(p, t, 3) / p.sd(t, 60) ** 3,
    "kurtosis_60": lambda p, t: log(moment(p, t, 4) / (3 * p.sd(t, 60) ** 4)),
    "autocorrelation_60": lambda p, t: correlation(p.returns(t, 60), p.returns(t - 1, 60)),
    "variance_ratio_5_60": lambda p, t: tilt(five_bars(p, t), p.sd(t, 60) ** 2),
    "up_share_20": lambda p, t: fmean(sign(move) for move in p.changes(t, 20)),
    "drawdown_60": lambda p, t: log(p.c[t] / max(last(p.c, t, 60))) / p.sd(t),
    "day_sin": lambda p, t: sin(around(of_day(p, t))),
    "day_cos": lambda p, t: cos(around(of_day(p, t))),
    "week_sin": lambda p, t: sin(around(of_week(p, t))),
    "week_cos": lambda p, t: cos(around(of_week(p, t))),
}
