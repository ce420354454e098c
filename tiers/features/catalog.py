"""The features by name: what each means, its formula, its range, where it comes from, and how many bars it needs.

`manage.py features` lists them, and docs/features.md, which it writes, says how formulas are to be read.

What is left out, and why: cumulative levels (OBV, A/D line) and the parabolic SAR have no finite memory;
TA-Lib's named candle patterns compare with running averages, so rounding can flip them between a live
window and a backtest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

FEATURE_SET, SET_VERSION = "base-v1", "1.1.0"
GROUPS = ("momentum", "trend", "volatility", "volume", "candle", "distribution", "time_of_day")

# Own bars of a symbol that a live call needs for its last row to equal the backtest's to 1e-9. Windowed
# features are exact after 65 bars; the slowest recursion (ADX: Wilder over 14, twice) forgets a start at
# (13/14)^n.
WINDOW_BARS = 384


ANY, POSITIVE, NEGATIVE = (-inf, inf), (0.0, inf), (-inf, 0.0)
SIGNED, SHARE = (-1.0, 1.0), (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column: `lookback` is the number of own bars before its first value."""

    name: str
    group: str
    lookback: int
    meaning: str
    formula: str
    source: str
    bounds: tuple[float, float] = ANY


_WILDER = "Wilder 1978"
_TALIB = "TA-Lib"

FEATURES: tuple[Feature, ...] = (
    Feature("return_1", "momentum", 20, "last move in volatilities", "r / sd(20)", "standardised return"),
    Feature("return_5", "momentum", 20, "move of 5 bars in volatilities", "ln(c/c[-5]) / (sd(20) sqrt 5)", "same"),
    Feature("return_20", "momentum", 20, "move of 20 bars in volatilities", "ln(c/c[-20]) / (sd(20) sqrt 20)", "same"),
    Feature("return_60", "momentum", 60, "move of 60 bars in volatilities", "ln(c/c[-60]) / (sd(20) sqrt 60)", "same"),
    Feature("rsi_14", "momentum", 14, "relative strength", "RSI(14)/50 - 1; 0 after 14 still bars", _WILDER, SIGNED),
    Feature(
        "stoch_k_14",
        "momentum",
        13,
        "close in the range of 14 bars",
        "(2c - max h - min l) / (max h - min l); 0 in a zero range",
        "Lane 1984",
        SIGNED,
    ),
    Feature("stoch_d_14", "momentum", 15, "smoothed stoch_k_14", "mean of stoch_k_14 over 3 bars", "Lane 1984", SIGNED),
    Feature(
        "cci_20",
        "momentum",
        19,
        "typical price against its mean deviation",
        "CCI(20)/100; 0 when still",
        "Lambert 1980",
    ),
    Feature("macd_line", "momentum", 25, "fast against slow average", "(EMA 12 - EMA 26) / ATR", "Appel 1979"),
    Feature("macd_histogram", "momentum", 33, "turn of macd_line", "(MACD - its EMA 9) / ATR", "Appel 1979"),
    Feature(
        "trix_9", "momentum", 25, "drift of the triple average", "change of EMA9(EMA9(EMA9 c)) / sd(20)", "Hutson 1983"
    ),
    Feature("adx_14", "trend", 27, "strength of the trend", "ADX(14)/100; 0 after 14 still bars", _WILDER, SHARE),
    Feature("di_balance_14", "trend", 14, "direction of the trend", "(+DI - -DI)/100; 0 when still", _WILDER, SIGNED),
    Feature(
        "aroon_25", "trend", 25, "newest high against newest low", "Aroon oscillator(25)/100", "Chande 1995", SIGNED
    ),
    Feature("ema_gap_10", "trend", 14, "distance from the short average", "(c - EMA 10) / ATR", _TALIB),
    Feature("ema_gap_26", "trend", 25, "distance from the middle average", "(c - EMA 26) / ATR", _TALIB),
    Feature(
        "sma_gap_50", "trend", 49, "distance from the long average", "(c - mean c over 50) / ATR", "moving average"
    ),
    Feature("slope_20", "trend", 19, "slope of the line through 20 closes", "20 slope / ATR", "least squares"),
    Feature(
        "trend_fit_20",
        "trend",
        19,
        "how straight the last 20 closes lie",
        "correlation of c with time; 0 when flat",
        "Pearson correlation",
        SIGNED,
    ),
    Feature(
        "channel_55", "trend", 54, "close in the range of 55 bars", "as stoch_k_14, over 55", "Donchian channel", SIGNED
    ),
    Feature(
        "efficiency_20",
        "trend",
        20,
        "net move over path",
        "(c - c[-20]) / sum |c - c[-1]|; 0 when flat",
        "Kaufman 1995",
        SIGNED,
    ),
    Feature("atr_14", "volatility", 14, "true range as share of the price", "ATR / c", "after Wilder 1978", POSITIVE),
    Feature("volatility_20", "volatility", 20, "volatility a bar", "sd(20)", "sample statistics", POSITIVE),
    Feature(
        "volatility_ratio_10_60",
        "volatility",
        60,
        "current against usual volatility",
        "sd(10) ~ sd(60)",
        "sample statistics",
        SIGNED,
    ),
    Feature(
        "parkinson_20",
        "volatility",
        19,
        "volatility from ranges",
        "sqrt(mean ln(h/l)^2 over 20 / (4 ln 2))",
        "Parkinson 1980",
        POSITIVE,
    ),
    Feature(
        "garman_klass_20",
        "volatility",
        19,
        "volatility from whole bars",
        "sqrt(mean(ln(h/l)^2 / 2 - (2 ln 2 - 1) ln(c/o)^2) over 20)",
        "Garman, Klass 1980",
        POSITIVE,
    ),
    Feature(
        "bollinger_z_20",
        "volatility",
        19,
        "close in deviations from its mean",
        "(c - mean c) / deviation of c over 20; 0 when flat",
        "Bollinger 2001",
    ),
    Feature(
        "squeeze_20",
        "volatility",
        19,
        "width of the band against the range",
        "deviation of c over 20 / ATR",
        "Bollinger 2001",
        POSITIVE,
    ),
    Feature("true_range_ratio", "volatility", 14, "size of the last bar", "TR / ATR", "after Wilder 1978", POSITIVE),
    Feature(
        "downside_share_20",
        "volatility",
        20,
        "share of variance from falls",
        "sum r^2 of falls / sum r^2 over 20; 0.5 when flat",
        "semivariance, Markowitz 1959",
        SHARE,
    ),
    Feature("relative_volume_20", "volume", 19, "volume against usual", "v ~ mean v over 20", "normalised", SIGNED),
    Feature(
        "volume_trend_5_20", "volume", 19, "short against long volume", "mean v over 5 ~ over 20", "normalised", SIGNED
    ),
    Feature(
        "mfi_14",
        "volume",
        14,
        "money flowing up against down",
        "sum of sign(tp - tp[-1]) tp v / sum of those without their sign over 14; 0 without flow",
        "Quong, Soudack 1989",
        SIGNED,
    ),
    Feature(
        "signed_volume_20",
        "volume",
        20,
        "volume of rises against falls",
        "sum sign(c - c[-1]) v / sum v over 20; 0 without volume",
        "windowed OBV, Granville 1963",
        SIGNED,
    ),
    Feature(
        "money_flow_20",
        "volume",
        19,
        "volume weighted close location",
        "sum (2c - h - l)/(h - l) v / sum v over 20; 0 without volume",
        "Chaikin money flow",
        SIGNED,
    ),
    Feature(
        "vwap_gap_20",
        "volume",
        19,
        "distance from the average price paid",
        "(c - sum tp v / sum v over 20) / ATR, tp = (h + l + c)/3",
        "VWAP",
    ),
    Feature(
        "illiquidity_5_20",
        "volume",
        20,
        "move per traded value, short against long",
        "I(5) ~ I(20), I(n) = sum |r| / sum c v over n",
        "after Amihud 2002",
        SIGNED,
    ),
    Feature(
        "body_share",
        "candle",
        0,
        "body as share of the bar",
        "(c - o)/(h - l); 0 in a zero range",
        "candle geometry",
        SIGNED,
    ),
    Feature(
        "upper_shadow",
        "candle",
        0,
        "upper shadow as share of the bar",
        "(h - max(o, c))/(h - l); 0 likewise",
        "candle geometry",
        SHARE,
    ),
    Feature(
        "lower_shadow",
        "candle",
        0,
        "lower shadow as share of the bar",
        "(min(o, c) - l)/(h - l); 0 likewise",
        "candle geometry",
        SHARE,
    ),
    Feature("gap", "candle", 14, "jump between two bars", "(o - c[-1]) / ATR", "candle geometry"),
    Feature(
        "streak_8",
        "candle",
        8,
        "bars in a row the same way",
        "signed run of sign(c - c[-1]), at most 8, / 8",
        "candle geometry",
        SIGNED,
    ),
    Feature(
        "skew_60",
        "distribution",
        60,
        "asymmetry of returns",
        "third central moment of r over 60 / sd(60)^3",
        "sample statistics",
    ),
    Feature(
        "kurtosis_60",
        "distribution",
        60,
        "weight of the tails",
        "ln(fourth central moment of r / (3 sd(60)^4))",
        "sample statistics",
    ),
    Feature(
        "autocorrelation_60",
        "distribution",
        61,
        "memory of returns",
        "correlation of r and r[-1] over 60",
        "sample statistics",
        SIGNED,
    ),
    Feature(
        "variance_ratio_5_60",
        "distribution",
        60,
        "trending (> 0) or reverting (< 0)",
        "sum of (ln(c/c[-5]) - 5 mean r)^2 over 56 / (5 56 (1 - 5/60)) ~ sum of (r - mean r)^2 / 59, over 60",
        "Lo, MacKinlay 1988",
        SIGNED,
    ),
    Feature(
        "up_share_20",
        "distribution",
        20,
        "rises less falls",
        "mean sign(c - c[-1]) over 20",
        "sample statistics",
        SIGNED,
    ),
    Feature(
        "drawdown_60",
        "distribution",
        59,
        "fall from the highest close, in volatilities",
        "ln(c / max c over 60) / sd(20)",
        "drawdown",
        NEGATIVE,
    ),
    Feature(
        "day_sin",
        "time_of_day",
        0,
        "time of day",
        "sin(2 pi seconds of the UTC day / 86400)",
        "cyclic encoding",
        SIGNED,
    ),
    Feature(
        "day_cos",
        "time_of_day",
        0,
        "time of day",
        "cos(2 pi seconds of the UTC day / 86400)",
        "cyclic encoding",
        SIGNED,
    ),
    Feature(
        "week_sin",
        "time_of_day",
        0,
        "time of week",
        "sin(2 pi seconds since Monday 00:00 UTC / 604800)",
        "same",
        SIGNED,
    ),
    Feature(
        "week_cos",
        "time_of_day",
        0,
        "time of week",
        "cos(2 pi seconds since Monday 00:00 UTC / 604800)",
        "same",
        SIGNED,
    ),
)

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
LOOKBACK: dict[str, int] = {feature.name: feature.lookback for feature in FEATURES}
