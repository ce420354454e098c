"""Parameters of the pipeline: frozen, checked when made, and the same text again after a round trip.

Every field states its unit and its bounds; a value outside is a `DataError` of one sentence. Money and
prices are `Decimal` and travel as strings, everything else as JSON numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from tiers.contracts.errors import DataError
from trading.market.timeframes import seconds

DAY_S = 86_400
SESSION_S = 23_400  # of US stocks, 9:30 to 16:00


def _bounded(default: float | Decimal, low: float, high: float) -> Any:
    """A field whose value must lie in [low, high]; its type is the type of its default."""
    return field(default=default, metadata={"low": low, "high": high})


def _one_of(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


def _check(params: object) -> None:
    """Raise `DataError` for the first field that breaks its bounds."""
    for item in fields(params):  # type: ignore[arg-type]
        value, name = getattr(params, item.name), f"{type(params).__name__}.{item.name}"
        if "choices" in item.metadata:
            if value not in item.metadata["choices"]:
                raise DataError(f"{name} must be one of {', '.join(item.metadata['choices'])}, was {value!r}")
        elif "low" in item.metadata:
            _check_number(name, value, type(item.default), item.metadata["low"], item.metadata["high"])


def _check_number(name: str, value: Any, kind: type[Any], low: float, high: float) -> None:
    allowed = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise DataError(f"{name} must be a {kind.__name__}, was {value!r}")
    if not math.isfinite(value) or not low <= value <= high:
        raise DataError(f"{name} must be from {low} to {high}, was {value}")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise DataError(sentence)


def bars_a_day(timeframe: str, *, closes: bool) -> int:
    """Bars of a US stock session, or of a day around the clock; the first hour of a session is half a bar."""
    bar_s = seconds(timeframe)
    return -(-SESSION_S // bar_s) if closes else DAY_S // bar_s


def rows_a_day(timeframe: str, *, closes: bool, both: bool) -> float:
    """Rows of a book in a day: the bars of its market. A book of `both` has those of the coins.

    In its daily bars there are the sessions' rows, too, which end at another instant: 252 in 365 days.
    """
    if both and seconds(timeframe) >= DAY_S:
        return 1 + 252 / 365
    return bars_a_day(timeframe, closes=closes and not both)


def bars_a_year(timeframe: str, *, closes: bool) -> int:
    """Bars of 252 US stock sessions, or of 365 days around the clock."""
    return bars_a_day(timeframe, closes=closes) * (252 if closes else 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityParams:
    """How next-bar volatility is estimated; counts are a symbol's own bars.

    GARCH parameters are fitted at the first own bar of every bucket of `bucket_s` seconds (counted from the
    epoch), on the `window_bars` returns that end there, and hold until the next bucket.
    """

    window_bars: int = _bounded(1_000, 50, 100_000)
    min_returns: int = _bounded(250, 50, 100_000)  # fewer at the fitting bar: EWMA
    bucket_s: int = _bounded(91 * DAY_S, 60, 3_650 * DAY_S)
    mean: str = _one_of("constant", "constant", "zero")
    ewma_lambda: float = _bounded(0.94, 0.5, 0.9999)  # RiskMetrics (1996), daily
    ewma_bars: int = _bounded(250, 2, 100_000)  # finite, so that a live window is enough
    ewma_min_bars: int = _bounded(20, 2, 100_000)

    def __post_init__(self) -> None:
        _check(self)
        _require(
            self.min_returns <= self.window_bars and self.ewma_bars <= self.window_bars,
            f"VolatilityParams.min_returns and ewma_bars must be at most window_bars = {self.window_bars}, "
            f"were {self.min_returns} and {self.ewma_bars}",
        )
        _require(
            self.ewma_min_bars <= self.ewma_bars,
            f"VolatilityParams.ewma_min_bars must be at most ewma_bars, were {self.ewma_min_bars} and {self.ewma_bars}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskParams:
    """Sizing, leverage, drawdown and exposure limits; weights and drawdowns are fractions of equity."""

    kelly_fraction: float = _bounded(0.25, 0.0, 1.0)
    kelly_cap: float = _bounded(0.5, 0.0, 10.0)
    fixed_fraction: float = _bounded(0.2, 0.0, 10.0)  # used when kelly_position_sizing is off
    edge_scale: float = _bounded(math.sqrt(2.0 / math.pi), 0.0, 5.0)  # E|r| / sigma of a normal return
    bars_per_year: int = _bounded(252, 1, 525_600)  # of a symbol that the next field does not name
    own_bars_per_year: Mapping[str, int] = field(default_factory=dict)  # of those on another calendar than the book's
    target_volatility: float = _bounded(0.15, 0.001, 5.0)  # a year
    max_leverage: float = _bounded(1.0, 0.0, 10.0)  # bound on the sum of target weights
    max_gross: float = _bounded(1.02, 0.0, 10.0)  # held gross exposure above it is denied; 2 % is drift
    max_weight: float = _bounded(0.4, 0.0, 10.0)  # a symbol
    delever_start: float = _bounded(0.10, 0.0, 1.0)  # drawdown at which the leverage bound begins to fall
    delever_end: float = _bounded(0.30, 0.0, 1.0)  # drawdown at which it has fallen to delever_floor
    delever_floor: float = _bounded(0.2, 0.0, 1.0)
    resume_drawdown: float = _bounded(0.20, 0.0, 1.0)  # REDUCING ends below it
    reduce_drawdown: float = _bounded(0.30, 0.0, 1.0)  # REDUCING begins at it
    halt_drawdown: float = _bounded(0.40, 0.0, 1.0)  # HALTED begins at it; a person ends it
    cvar_confidence: float = _bounded(0.95, 0.5, 0.999)
    max_cvar: float = _bounded(0.03, 0.0, 1.0)  # mean loss of the worst bars, per bar
    max_correlation: float = _bounded(0.8, -1.0, 1.0)
    min_history: int = _bounded(60, 2, 100_000)  # rows of returns that a portfolio statistic needs

    def __post_init__(self) -> None:
        _check(self)
        for symbol, n_bars in _mapping(self.own_bars_per_year, "RiskParams.own_bars_per_year").items():
            _check_number(f"RiskParams.own_bars_per_year of {symbol}", n_bars, int, 1, 525_600)
        _require(
            self.delever_start < self.delever_end,
            f"RiskParams.delever_start must be below delever_end, were {self.delever_start} and {self.delever_end}",
        )
        _require(
            self.resume_drawdown <= self.reduce_drawdown <= self.halt_drawdown,
            "RiskParams.resume_drawdown, reduce_drawdown and halt_drawdown must ascend, "
            f"were {self.resume_drawdown}, {self.reduce_drawdown} and {self.halt_drawdown}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioParams:
    """The mean-variance problem of one bar and the limits on how far a rebalancing moves."""

    window_bars: int = _bounded(120, 2, 100_000)  # rows of returns behind the correlation
    min_history: int = _bounded(60, 2, 100_000)  # fewer: the symbol counts as uncorrelated
    risk_aversion: float = _bounded(4.0, 0.001, 10_000.0)  # 1 / Kelly fraction
    cost_bps: float = _bounded(7.0, 0.0, 20_000.0)  # of the traded notional, one way: fee and slippage of the venue
    holding_bars: int = _bounded(0, 0, 100_000)  # over which it is spread; 0: as many as the forecast looks ahead
    min_weight_change: float = _bounded(0.01, 0.0, 1.0)  # smaller changes are not traded
    max_turnover: float = _bounded(0.5, 0.0, 10.0)  # sum of absolute changes, a rebalancing
    tolerance: float = _bounded(1e-10, 1e-14, 1e-3)  # of a weight
    max_iterations: int = _bounded(5_000, 1, 1_000_000)
    own_bars: Mapping[str, float] = field(default_factory=dict)  # in one of the book's, of those on another calendar

    def __post_init__(self) -> None:
        _check(self)
        for symbol, n_bars in _mapping(self.own_bars, "PortfolioParams.own_bars").items():
            _check_number(f"PortfolioParams.own_bars of {symbol}", n_bars, float, 0.01, 100.0)
        _require(
            self.min_history <= self.window_bars,
            f"PortfolioParams.min_history must be at most window_bars, were {self.min_history} and {self.window_bars}",
        )

    @property
    def cost_per_bar(self) -> float:
        """Cost of one unit of turnover, in return per bar of the holding period."""
        return self.cost_bps * 1e-4 / max(self.holding_bars, 1)

    def held_for(self, horizon_bars: Sequence[int]) -> Self:
        """These parameters for a forecast: the shortest of its horizons is the holding period, unless one is set."""
        return self if self.holding_bars else replace(self, holding_bars=min(horizon_bars))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteParams:
    """Bounds on single orders."""

    # cash_buffer is the part of equity that is never spent on buying
    cash_buffer: Decimal = field(default=Decimal("0.01"), metadata={"low": 0, "high": 1})
    # max_notional bounds an order that adds exposure, in the currency in which the symbols of the book are priced
    max_notional: Decimal = field(default=Decimal(1_000_000), metadata={"low": 0, "high": 1e15})

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParams:
    """Every parameter of the numerical stages of one book."""

    volatility: VolatilityParams = field(default_factory=VolatilityParams)
    risk: RiskParams = field(default_factory=RiskParams)
    portfolio: PortfolioParams = field(default_factory=PortfolioParams)
    execute: ExecuteParams = field(default_factory=ExecuteParams)

    def __post_init__(self) -> None:
        needed, given = self.risk.min_history, self.portfolio.window_bars
        _require(needed <= given, f"risk.min_history must be at most portfolio.window_bars, were {needed} and {given}")

    @classmethod
    def of(
        cls,
        timeframe: str,
        *,
        closes: bool,
        cost_bps: float,
        around_the_clock: Sequence[str] = (),
        own: Mapping[str, Any] | None = None,
    ) -> Self:
        """The usual parameters of a timeframe, with `own` values (a part of what `to_json` writes) in their place.

        `closes` says whether the market does, by its calendar: US stock sessions, else trading around the clock.
        It sets the bars of a year, the volatility target and the CVaR limit. `around_the_clock` names the symbols that
        trade so all the same: their years have their own bars. `cost_bps` is what the venue charges.
        """
        a_year, a_day = bars_a_year(timeframe, closes=closes), bars_a_day(timeframe, closes=closes)
        own_a_year = dict.fromkeys(around_the_clock if closes else (), bars_a_year(timeframe, closes=False))
        window, bucket_days, history = _BY_TIMEFRAME[timeframe]
        usual = cls(
            volatility=VolatilityParams(window_bars=window, bucket_s=bucket_days * DAY_S),
            risk=RiskParams(
                bars_per_year=a_year,
                own_bars_per_year=own_a_year,
                target_volatility=0.15 if closes else 0.3,
                max_cvar=round((0.03 if closes else 0.06) / math.sqrt(a_day), 6),
            ),
            portfolio=PortfolioParams(
                window_bars=history,
                cost_bps=cost_bps,
                own_bars={symbol: n_bars / a_year for symbol, n_bars in own_a_year.items()},
            ),
        )
        return usual._with(own) if own else usual

    def _with(self, own: Mapping[str, Any]) -> Self:
        """These parameters with the values of `own`, read as `from_json` reads them."""
        merged: dict[str, Any] = self.to_json()
        for part, values in own.items():
            is_part = isinstance(values, Mapping) and part in merged
            merged[part] = {**merged[part], **values} if is_part else values  # what is none, `from_json` names
        return self.from_json(merged)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values; `from_json` makes an equal object of it."""
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_json(cls, data: str | Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, or a part of it: what is left out keeps its default."""
        parts = _mapping(_loaded(data) if isinstance(data, str) else data, "PipelineParams")
        classes = {
            "volatility": VolatilityParams,
            "risk": RiskParams,
            "portfolio": PortfolioParams,
            "execute": ExecuteParams,
        }
        _refuse_unknown(parts, classes, "PipelineParams")
        return cls(**{name: _read(classes[name], value) for name, value in parts.items()})


# window of the fit, days between fits, rows of returns
_BY_TIMEFRAME: dict[str, tuple[int, int, int]] = {
    "1m": (1_560, 1, 390),
    "5m": (1_000, 1, 234),
    "15m": (1_000, 1, 208),
    "1h": (1_000, 7, 240),
    "1d": (1_000, 91, 120),
}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"PipelineParams must be JSON, but {error}") from error


def _plain(params: object) -> dict[str, Any]:
    values = {item.name: getattr(params, item.name) for item in fields(params)}  # type: ignore[arg-type]
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _read(kind: type, data: Any) -> Any:
    values = dict(_mapping(data, kind.__name__))
    known = {item.name: item for item in fields(kind)} if is_dataclass(kind) else {}
    _refuse_unknown(values, known, kind.__name__)
    for name, value in values.items():
        if isinstance(known[name].default, Decimal) and not isinstance(value, Decimal):
            values[name] = _decimal(f"{kind.__name__}.{name}", value)
    return kind(**values)


def _decimal(name: str, value: Any) -> Decimal:
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise DataError(f"{name} must be a decimal number written as a string, was {value!r}")


def _mapping(data: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise DataError(f"{name} must be an object of named values, was {type(data).__name__}")
    return data


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise DataError(f"{name} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
