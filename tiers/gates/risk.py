"""The suite `risk`: what a risk module and a strategic analyst must hold, whatever their methods are."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import RiskDecision, Switches, TradingState
from tiers.contracts.parameters import RiskParams
from tiers.gates import assertions, llm
from tiers.gates import inputs as worlds
from tiers.gates.inputs import SYMBOLS

PARAMS = RiskParams()
N = len(SYMBOLS)
HELD = ("size", "max_weight", "sigma", "expected_return")
STATES = tuple(TradingState)

__all__ = ["TESTS"]


def _decide(candidate: Candidate, seed: int, **changes: Any) -> RiskDecision:
    inputs: dict[str, Any] = {
        "forecast": worlds.forecast(seed),
        "volatility": worlds.volatility(seed),
        "book": worlds.book(seed, held=worlds.holdings(seed)),
        "returns": worlds.returns(seed),
        "switches": Switches(),
        "params": PARAMS,
    }
    out: RiskDecision = candidate.run(**{**inputs, **changes})
    assertions.fields(out, ("bar_ts", "symbols", *HELD, "leverage", "state", "denials"), "a risk decision")
    return out


def the_decision_speaks_of_its_bar_and_symbols(candidate: Candidate, seed: int) -> None:
    out = _decide(candidate, seed)
    require(out.bar_ts == worlds.BAR_TS, f"the decision must be of the bar {worlds.BAR_TS}, was of {out.bar_ts}")
    require(out.symbols == SYMBOLS, f"the decision must keep the symbols {SYMBOLS}, had {out.symbols}")
    for name in HELD:
        assertions.array(getattr(out, name), name, (N,))
    require(out.state in STATES, f"state must be one of {', '.join(STATES)}, was {out.state!r}")


def sizes_and_weights_are_finite_and_not_negative(candidate: Candidate, seed: int) -> None:
    for each in _worlds(candidate, seed):
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
                volatility=worlds.volatility(seed, factor=factor),
            )
            ok = math.isfinite(out.leverage) and 0.0 <= out.leverage <= limit + assertions.TOLERANCE
            require(ok, f"leverage must be from 0 to {limit:g}, was {out.leverage:g}")


def unknown_volatility_is_denied(candidate: Candidate, seed: int) -> None:
    gone = seed % N
    _neutral(candidate, seed, gone, "an unknown volatility", volatility=worlds.volatility(seed, unknown=(gone,)))


def a_missing_forecast_is_denied(candidate: Candidate, seed: int) -> None:
    gone = (seed + 1) % N
    _neutral(candidate, seed, gone, "a missing forecast", forecast=worlds.forecast(seed, unknown=(gone,)))


def nothing_is_added_to_a_symbol_without_a_bar(candidate: Candidate, seed: int) -> None:
    held, tradable = worlds.holdings(seed), np.ones(N, dtype=np.bool_)
    tradable[2] = False
    out = _decide(candidate, seed, book=worlds.book(seed, held=held, tradable=tradable))
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
    for out in _worlds(candidate, seed):
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
        after = _decide(candidate, seed, volatility=worlds.volatility(seed, factor=factor))
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
        forecast = worlds.forecast(seed)
        forecast.probability[0] = opinion
        after = _decide(candidate, seed, forecast=forecast)
        assertions.same(before.size[1:], after.size[1:], "a symbol's size should not move with another's forecast")


def _neutral(candidate: Candidate, seed: int, gone: int, what: str, **changes: Any) -> None:
    held = worlds.holdings(seed)
    out = _decide(candidate, seed, book=worlds.book(seed, held=held), **changes)
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
    return worlds.book(seed, held=worlds.holdings(seed), drawdown=drawdown, state=state)


def _worlds(candidate: Candidate, seed: int) -> list[RiskDecision]:
    """Decisions in calm, wild, partly unknown, losing, over-full and empty worlds."""
    unknown = (seed % N, (seed + 2) % N)
    return [
        _decide(candidate, seed),
        _decide(candidate, seed, volatility=worlds.volatility(seed, factor=50.0)),
        _decide(candidate, seed, volatility=worlds.volatility(seed, factor=1e-6)),
        _decide(candidate, seed, volatility=worlds.volatility(seed, unknown=tuple(range(N)))),
        _decide(candidate, seed, forecast=worlds.forecast(seed, unknown=unknown)),
        _decide(candidate, seed, book=_book(seed, 0.5, TradingState.REDUCING)),
        _decide(candidate, seed, book=worlds.book(seed, held=worlds.holdings(seed, gross=1.8))),
        _decide(candidate, seed, book=worlds.book(seed)),
        _decide(candidate, seed, returns=np.full((120, N), np.nan)),
        _decide(candidate, seed, switches=Switches(kelly_position_sizing=False, advanced_risk_engine=SYMBOLS[:3])),
    ]


RISK = ("risk",)
_REQUIRED = (
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
    *(GateTest(name=name, function=function, contracts=RISK) for name, function in _REQUIRED),
    *(GateTest(name=name, function=function, contracts=RISK, required=False) for name, function in _OPTIONAL),
    *llm.TESTS,
)
