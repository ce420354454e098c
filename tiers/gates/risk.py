"""The suite `risk`: what a risk module and a strategic analyst must hold, whatever their methods are."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import (
    Bars,
    BarsByTimeframe,
    RiskDecision,
    Switches,
    TradingState,
    VolatilityPath,
    shortest,
)
from tiers.contracts.feature_sets import until
from tiers.contracts.parameters import PipelineParams, RiskParams, VolatilityParams
from tiers.gates import assertions, completeness, llm, samples
from tiers.gates.samples import SYMBOLS

PARAMS = RiskParams()
VOLATILITY = VolatilityParams(window_bars=250, min_returns=100, bucket_s=86_400)
N_BARS, METHOD_LETTERS = 480, 32
N = len(SYMBOLS)
HELD = ("size", "max_weight", "sigma", "expected_return")
STATES = tuple(TradingState)

__all__ = ["TESTS"]


def _decide(candidate: Candidate, seed: int, **changes: Any) -> RiskDecision:
    given: dict[str, Any] = {
        "forecast": samples.forecast(seed),
        "volatility": samples.volatility(seed),
        "book": samples.book(seed, held=samples.holdings(seed)),
        "returns": samples.returns(seed),
        "switches": Switches(),
        "params": PARAMS,
    }
    out: RiskDecision = candidate.run(**{**given, **changes})
    assertions.fields(out, ("bar_ts", "symbols", *HELD, "leverage", "state", "denials"), "a risk decision")
    return out


def the_decision_speaks_of_its_bar_and_symbols(candidate: Candidate, seed: int) -> None:
    out = _decide(candidate, seed)
    require(out.bar_ts == samples.BAR_TS, f"the decision must be of the bar {samples.BAR_TS}, was of {out.bar_ts}")
    require(out.symbols == SYMBOLS, f"the decision must keep the symbols {SYMBOLS}, had {out.symbols}")
    for name in HELD:
        assertions.array(getattr(out, name), name, (N,))
    require(out.state in STATES, f"state must be one of {', '.join(STATES)}, was {out.state!r}")


def sizes_and_weights_are_finite_and_not_negative(candidate: Candidate, seed: int) -> None:
    for each in _samples(candidate, seed):
        for name in ("size", "max_weight"):
            assertions.within(getattr(each, name), 0.0, math.inf, name, slack=0.0)
            assertions.finite(getattr(each, name), name)
        assertions.finite(each.expected_return, "expected_return")


def no_weight_is_above_its_limit(candidate: Candidate, seed: int) -> None:
    for limit in (0.05, PARAMS.max_weight, 1.0):
        for offset in range(5):
            out = _decide(candidate, seed + offset, params=replace(PARAMS, max_weight=limit))
            assertions.within(out.max_weight, 0.0, limit, f"max_weight under a limit of {limit:g}")


def leverage_is_within_its_limit(candidate: Candidate, seed: int) -> None:
    for limit in (0.0, 0.5, PARAMS.max_leverage, 2.0):
        for factor in (0.001, 1.0, 20.0):
            out = _decide(
                candidate,
                seed,
                params=replace(PARAMS, max_leverage=limit),
                volatility=samples.volatility(seed, factor=factor),
            )
            ok = math.isfinite(out.leverage) and 0.0 <= out.leverage <= limit + assertions.TOLERANCE
            require(ok, f"leverage must be from 0 to {limit:g}, was {out.leverage:g}")


def unknown_volatility_is_denied(candidate: Candidate, seed: int) -> None:
    gone = seed % N
    _neutral(candidate, seed, gone, "an unknown volatility", volatility=samples.volatility(seed, unknown=(gone,)))


def a_missing_forecast_is_denied(candidate: Candidate, seed: int) -> None:
    gone = (seed + 1) % N
    _neutral(candidate, seed, gone, "a missing forecast", forecast=samples.forecast(seed, unknown=(gone,)))


def nothing_is_added_to_a_symbol_without_a_bar(candidate: Candidate, seed: int) -> None:
    held, tradable = samples.holdings(seed), np.ones(N, dtype=np.bool_)
    tradable[2] = False
    out = _decide(candidate, seed, book=samples.book(seed, held=held, tradable=tradable))
    _not_raised(out, 2, float(held[2]), "a symbol without a bar")


def deep_drawdown_halts(candidate: Candidate, seed: int) -> None:
    for state in STATES:
        for drawdown in (PARAMS.halt_drawdown + 0.001, 0.9):
            out = _decide(candidate, seed, book=_book(seed, drawdown, state))
            require(
                out.state == TradingState.HALTED,
                f"a drawdown of {drawdown:.1%} must halt a book that is {state}, it became {out.state}",
            )


def drawdown_reduces(candidate: Candidate, seed: int) -> None:
    for drawdown in (PARAMS.reduce_drawdown + 0.001, PARAMS.halt_drawdown - 0.001):
        out = _decide(candidate, seed, book=_book(seed, drawdown, TradingState.ACTIVE))
        require(
            out.state != TradingState.ACTIVE, f"a drawdown of {drawdown:.1%} must end ACTIVE, the book stayed ACTIVE"
        )


def a_halted_book_stays_halted(candidate: Candidate, seed: int) -> None:
    out = _decide(candidate, seed, book=_book(seed, 0.0, TradingState.HALTED))
    require(out.state == TradingState.HALTED, f"only a person ends HALTED, the module made it {out.state}")


def a_small_loss_changes_no_state(candidate: Candidate, seed: int) -> None:
    out = _decide(candidate, seed, book=_book(seed, 0.01, TradingState.ACTIVE))
    require(out.state == TradingState.ACTIVE, f"a drawdown of 1% should leave the book ACTIVE, it became {out.state}")


def denials_name_code_observed_and_limit(candidate: Candidate, seed: int) -> None:
    for out in _samples(candidate, seed):
        for denial in out.denials:
            assertions.fields(denial, ("code", "observed", "limit", "symbol"), "a denial")
            require(isinstance(denial.code, str) and denial.code, f"a denial needs a code, was {denial.code!r}")
            numbers = math.isfinite(denial.observed) and math.isfinite(denial.limit)
            require(
                numbers, f"{denial.code} must name numbers, were observed={denial.observed} and limit={denial.limit}"
            )
            known = denial.symbol in ("", *SYMBOLS)
            require(known, f"{denial.code} must name a symbol of the book or none, was {denial.symbol!r}")


def higher_volatility_never_allows_more(candidate: Candidate, seed: int) -> None:
    before = _decide(candidate, seed)
    for factor in (1.5, 4.0, 30.0):
        after = _decide(candidate, seed, volatility=samples.volatility(seed, factor=factor))
        ok = after.leverage <= before.leverage + assertions.TOLERANCE
        require(
            ok, f"{factor:g} times the volatility must not raise leverage from {before.leverage:g}, it is now "
            f"{after.leverage:g}"
        )  # fmt: skip
        assertions.within(after.max_weight, 0.0, before.max_weight, f"max_weight at {factor:g} times the volatility")


def deeper_drawdown_never_allows_more(candidate: Candidate, seed: int) -> None:
    leverages = [
        _decide(candidate, seed, book=_book(seed, drawdown, TradingState.ACTIVE)).leverage
        for drawdown in (0.0, 0.05, 0.12, 0.2, 0.29, 0.35, 0.5)
    ]
    falling = all(later <= earlier + assertions.TOLERANCE for earlier, later in pairwise(leverages))
    told = ", ".join(f"{each:.3g}" for each in leverages)
    require(falling, f"leverage must not rise as the drawdown deepens, it went {told}")


def the_advanced_engine_only_tightens(candidate: Candidate, seed: int) -> None:
    plain = _decide(candidate, seed)
    listed = _decide(candidate, seed, switches=Switches(advanced_risk_engine=SYMBOLS))
    assertions.within(listed.max_weight, 0.0, plain.max_weight, "max_weight under the advanced limits")


def symbols_are_sized_by_themselves(candidate: Candidate, seed: int) -> None:
    before = _decide(candidate, seed)
    for opinion in ((0.01, 0.01, 0.98), (0.98, 0.01, 0.01)):
        forecast = samples.forecast(seed)
        forecast.probability[0] = opinion
        after = _decide(candidate, seed, forecast=forecast)
        assertions.same(before.size[1:], after.size[1:], "a symbol's size should not move with another's forecast")


def _volatility(candidate: Candidate, market: BarsByTimeframe, first_row: int, *, garch: bool) -> VolatilityPath:
    out: VolatilityPath = candidate.implementation.forecast_volatility(
        market, params=VOLATILITY, garch=garch, first_row=first_row
    )
    assertions.fields(out, ("sigma", "method", "names", "preferred"), "a volatility path")
    own = shortest(market)
    assertions.array(out.sigma, "sigma", (own.n_bars, own.n_symbols))
    return out


def volatility_is_positive_or_unknown(candidate: Candidate, seed: int) -> None:
    for garch in (True, False):
        out = _volatility(candidate, samples.by_timeframe(seed), N_BARS - 2, garch=garch)
        known = np.isfinite(out.sigma)
        require(known[-1].all(), f"{N_BARS} bars must give every volatility, {int((~known[-1]).sum())} lacked")
        require((out.sigma[known] > 0.0).all(), f"volatility must be above 0, was {out.sigma[known].min():g}")
        told = all(0 < len(name) <= METHOD_LETTERS for name in out.methods(N_BARS - 1))
        require(told, f"a method needs a name of at most {METHOD_LETTERS} letters, were {out.names}")


def volatility_knows_no_future(candidate: Candidate, seed: int) -> None:
    """Nor more than the window that the module asks for."""
    market = samples.by_timeframe(seed, n_bars=N_BARS)
    row, own = N_BARS - 40, market["1h"]
    wanted = candidate.implementation.lookback_bars(PipelineParams(volatility=VOLATILITY), own.timeframe)
    closed = until(market, own.ts[row])
    window = {name: _last_own(closed[name], n_bars) for name, n_bars in wanted.items()}
    plain = _volatility(candidate, market, row, garch=True).sigma[row]
    future = _volatility(candidate, samples.shocked(market, own.ts[row], seed), row, garch=True).sigma[row]
    assertions.same(plain, future, "volatility must not depend on bars that come later")
    live = _volatility(candidate, window, shortest(window).n_bars - 1, garch=True).sigma[-1]
    assertions.same(plain, live, "volatility must be that of the window that the module asks for")


def _last_own(bars: Bars, n_bars: int) -> Bars:
    """The rows that hold the last `n_bars` own bars of every symbol."""
    first = min(int(np.flatnonzero(np.isfinite(column))[-n_bars:][0]) for column in bars.close.T)
    return bars.rows(slice(first, None))


def _neutral(candidate: Candidate, seed: int, gone: int, what: str, **changes: Any) -> None:
    held = samples.holdings(seed)
    out = _decide(candidate, seed, book=samples.book(seed, held=held), **changes)
    _not_raised(out, gone, float(held[gone]), what)
    require(
        out.expected_return[gone] == 0.0,
        f"{what} must leave no expected return, {SYMBOLS[gone]} had {out.expected_return[gone]:g}",
    )
    denied = any(denial.symbol == SYMBOLS[gone] for denial in out.denials)
    require(denied, f"{what} of {SYMBOLS[gone]} must be told as a denial, there was none")


def _not_raised(out: RiskDecision, place: int, held: float, what: str) -> None:
    most = min(float(out.size[place]), float(out.max_weight[place]))
    require(
        most <= held + 1e-4,  # a held weight is a whole number of lots
        f"{what} must not allow more than the {held:.4f} that is held of {SYMBOLS[place]}, it allowed {most:.4f}",
    )


def _book(seed: int, drawdown: float, state: TradingState) -> Any:
    return samples.book(seed, held=samples.holdings(seed), drawdown=drawdown, state=state)


def _samples(candidate: Candidate, seed: int) -> list[RiskDecision]:
    """Decisions in calm, wild, partly unknown, losing, over-full and empty inputs."""
    unknown = (seed % N, (seed + 2) % N)
    return [
        _decide(candidate, seed),
        _decide(candidate, seed, volatility=samples.volatility(seed, factor=50.0)),
        _decide(candidate, seed, volatility=samples.volatility(seed, factor=1e-6)),
        _decide(candidate, seed, volatility=samples.volatility(seed, unknown=tuple(range(N)))),
        _decide(candidate, seed, forecast=samples.forecast(seed, unknown=unknown)),
        _decide(candidate, seed, book=_book(seed, 0.5, TradingState.REDUCING)),
        _decide(candidate, seed, book=samples.book(seed, held=samples.holdings(seed, gross=1.8))),
        _decide(candidate, seed, book=samples.book(seed)),
        _decide(candidate, seed, returns=np.full((120, N), np.nan)),
        _decide(candidate, seed, switches=Switches(kelly_position_sizing=False, advanced_risk_engine=SYMBOLS[:3])),
    ]


RISK = ("risk",)
_REQUIRED = (
    ("volatility is positive or unknown", volatility_is_positive_or_unknown),
    ("volatility knows no future", volatility_knows_no_future),
    ("the decision speaks of its bar and symbols", the_decision_speaks_of_its_bar_and_symbols),
    ("sizes and weights are finite and not negative", sizes_and_weights_are_finite_and_not_negative),
    ("no weight is above its limit", no_weight_is_above_its_limit),
    ("leverage is within its limit", leverage_is_within_its_limit),
    ("unknown volatility is denied", unknown_volatility_is_denied),
    ("a missing forecast is denied", a_missing_forecast_is_denied),
    ("nothing is added to a symbol without a bar", nothing_is_added_to_a_symbol_without_a_bar),
    ("deep drawdown halts", deep_drawdown_halts),
    ("drawdown reduces", drawdown_reduces),
    ("a halted book stays halted", a_halted_book_stays_halted),
    ("denials name code, observed and limit", denials_name_code_observed_and_limit),
)
_OPTIONAL = (
    ("a small loss changes no state", a_small_loss_changes_no_state),
    ("higher volatility never allows more", higher_volatility_never_allows_more),
    ("deeper drawdown never allows more", deeper_drawdown_never_allows_more),
    ("the advanced engine only tightens", the_advanced_engine_only_tightens),
    ("symbols are sized by themselves", symbols_are_sized_by_themselves),
)
TESTS = (
    completeness.completeness_test("risk"),
    *(GateTest(name=name, function=function, contracts=RISK) for name, function in _REQUIRED),
    *(GateTest(name=name, function=function, contracts=RISK, required=False) for name, function in _OPTIONAL),
    *llm.TESTS,
)
