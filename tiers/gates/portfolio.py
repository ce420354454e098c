"""The part of the suite `trading` that speaks of portfolio modules: target weights inside the risk engine's bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import BookView, FloatArray, RiskDecision, TailLimit, TargetWeights, TradingState, tail
from tiers.contracts.parameters import PortfolioParams
from tiers.gates import assertions, completeness, samples
from tiers.gates.samples import SYMBOLS

PARAMS = PortfolioParams(holding_bars=samples.HORIZON_BARS)
N = len(SYMBOLS)
GRID = 1e-6  # weights are kept in six decimals
DRIFT = PARAMS.min_weight_change  # what prices carried over a bound by less may stay
FIELDS = ("bar_ts", "symbols", "weights", "previous", "turnover", "method", "reason", "denials")

__all__ = ["TESTS"]


def _targets(candidate: Candidate, seed: int, *, risk: RiskDecision | None = None, **changes: Any) -> TargetWeights:
    inputs: dict[str, Any] = {
        "risk": samples.decision(seed) if risk is None else risk,
        "returns": samples.returns(seed),
        "book": samples.book(seed),
        "params": PARAMS,
    }
    out: TargetWeights = candidate.run(**{**inputs, **changes})
    assertions.fields(out, FIELDS, "target weights")
    return out


def _full(seed: int, *, gross: float = 0.6, **changes: Any) -> BookView:
    return samples.book(seed, held=samples.holdings(seed, gross=gross), **changes)


def targets_speak_of_their_bar_and_symbols(candidate: Candidate, seed: int) -> None:
    out = _targets(candidate, seed, book=_full(seed))
    require(out.bar_ts == samples.BAR_TS, f"targets must be of the bar {samples.BAR_TS}, were of {out.bar_ts}")
    require(out.symbols == SYMBOLS, f"targets must keep the symbols {SYMBOLS}, had {out.symbols}")
    for name in ("weights", "previous"):
        assertions.array(getattr(out, name), name, (N,))
    texts = isinstance(out.method, str) and out.method and isinstance(out.reason, str) and out.reason
    require(texts, f"targets must name method and reason, were {out.method!r} and {out.reason!r}")


def weights_are_finite(candidate: Candidate, seed: int) -> None:
    for out in (
        _targets(candidate, seed),
        _targets(candidate, seed, returns=np.full((120, N), np.nan)),
        _targets(candidate, seed, risk=samples.decision(seed, unknown=tuple(range(N)))),
        _targets(candidate, seed, book=_full(seed, gross=1.7)),
    ):
        assertions.finite(out.weights, "weights")
        require(np.isfinite(out.turnover), f"turnover must be finite, was {out.turnover}")


def no_weight_is_above_its_bounds(candidate: Candidate, seed: int) -> None:
    for offset in range(5):
        risk = samples.decision(seed + offset)
        bound = np.minimum(risk.max_weight, risk.size)
        flat = _targets(candidate, seed + offset, risk=risk)
        assertions.within(flat.weights, 0.0, bound, "a weight from an empty book", slack=GRID)
        view = _full(seed + offset)
        moved = _targets(candidate, seed + offset, risk=risk, book=view)
        held = np.maximum(bound + DRIFT, 0.0)
        assertions.within(moved.weights, 0.0, held, "a weight from a full book", slack=GRID)


def the_sum_is_within_the_leverage(candidate: Candidate, seed: int) -> None:
    for leverage in (0.0, 0.3, 0.9):
        for view in (samples.book(seed), _full(seed)):
            out = _targets(candidate, seed, risk=samples.decision(seed, leverage=leverage), book=view)
            total, limit = float(out.weights.sum()), leverage + (DRIFT if view.weights.any() else 0.0)
            require(total <= limit + GRID * N, f"the sum of weights must be at most {leverage:g}, was {total:.6f}")


def the_worst_bars_lose_no_more_than_their_limit(candidate: Candidate, seed: int) -> None:
    for view in (samples.book(seed), _full(seed)):
        for max_cvar in (0.001, 0.003):
            limit = TailLimit(symbols=SYMBOLS, max_cvar=max_cvar, confidence=0.95, min_history=60)
            out = _targets(candidate, seed, risk=replace(samples.decision(seed), tail=limit), book=view)
            lost = tail.loss(samples.returns(seed), out.weights, limit)
            ok = lost <= max_cvar + GRID
            require(ok, f"the worst bars must lose at most {max_cvar:g} in the mean, was {lost:.6f}")


def turnover_is_the_sum_of_changes(candidate: Candidate, seed: int) -> None:
    for view in (samples.book(seed), _full(seed)):
        out = _targets(candidate, seed, book=view)
        assertions.same(view.weights, out.previous, "previous must be the weights of the book")
        moved = float(np.abs(out.weights - out.previous).sum())
        ok = abs(moved - out.turnover) <= GRID * N
        require(ok, f"turnover must be the sum of absolute changes, {moved:.6f}, was {out.turnover:.6f}")


def turnover_is_within_its_limit(candidate: Candidate, seed: int) -> None:
    for limit in (0.0, 0.1, 0.5):
        for offset in range(3):
            params = replace(PARAMS, max_turnover=limit)
            out = _targets(candidate, seed + offset, params=params)
            require(
                out.turnover <= limit + GRID * N,
                f"turnover from an empty book must be at most {limit:g}, was {out.turnover:.6f}",
            )


def a_halted_book_keeps_its_weights(candidate: Candidate, seed: int) -> None:
    view = _full(seed, state=TradingState.HALTED)
    out = _targets(candidate, seed, risk=samples.decision(seed, state=TradingState.HALTED), book=view)
    assertions.within(out.weights, view.weights, view.weights, "a weight of a halted book", slack=2 * GRID)
    require(out.turnover <= GRID * N, f"a halted book must have no turnover, had {out.turnover:.6f}")


def a_reducing_book_only_shrinks(candidate: Candidate, seed: int) -> None:
    for offset in range(4):
        view = _full(seed + offset, gross=0.4, state=TradingState.REDUCING)
        risk = samples.decision(seed + offset, state=TradingState.REDUCING)
        out = _targets(candidate, seed + offset, risk=risk, book=view)
        assertions.within(out.weights, 0.0, np.maximum(view.weights, 0.0), "a weight of a reducing book", slack=GRID)


def what_has_no_bar_keeps_its_weight(candidate: Candidate, seed: int) -> None:
    tradable = np.ones(N, dtype=np.bool_)
    tradable[[1, 4]] = False
    view = _full(seed, gross=0.4, tradable=tradable)
    out = _targets(candidate, seed, book=view)
    for place in (1, 4):
        _kept(out, view.weights, place, "without a bar")


def what_has_no_known_risk_is_not_raised(candidate: Candidate, seed: int) -> None:
    view = _full(seed, gross=0.4)
    out = _targets(candidate, seed, risk=samples.decision(seed, unknown=(0, 3)), book=view)
    for place in (0, 3):
        ok = out.weights[place] <= view.weights[place] + GRID
        require(
            ok,
            f"{SYMBOLS[place]}, whose volatility is unknown, must not be raised above {view.weights[place]:.6f}, "
            f"it got {out.weights[place]:.6f}",
        )


def weights_lie_on_six_decimals(candidate: Candidate, seed: int) -> None:
    out = _targets(candidate, seed, book=_full(seed))
    steps = out.weights / GRID
    off = float(np.abs(steps - np.round(steps)).max())
    require(off < 1e-3, "weights must be rounded to six decimals, so that live and batch agree, they were not")


def a_good_book_is_left_alone(candidate: Candidate, seed: int) -> None:
    first = _targets(candidate, seed)
    view = samples.book(seed, held=first.weights)
    second = _targets(candidate, seed, book=view)
    again = samples.book(seed, held=second.weights)
    third = _targets(candidate, seed, book=again)
    require(
        third.turnover <= DRIFT,
        f"the same market should not be traded for ever, the third bar had a turnover of {third.turnover:.4f}",
    )


def higher_costs_never_trade_more(candidate: Candidate, seed: int) -> None:
    view = _full(seed)
    cheap, dear = (
        _targets(candidate, seed, book=view, params=replace(PARAMS, cost_bps=cost)).turnover for cost in (0.0, 500.0)
    )
    require(dear <= cheap + DRIFT, f"500 bps of cost should not trade more than none, {dear:.4f} against {cheap:.4f}")


def _kept(out: TargetWeights, previous: FloatArray, place: int, why: str) -> None:
    ok = abs(out.weights[place] - previous[place]) <= 2 * GRID
    require(
        ok,
        f"{SYMBOLS[place]} {why} must keep its weight of {previous[place]:.6f}, it got {out.weights[place]:.6f}",
    )


_ALL = (
    ("targets speak of their bar and symbols", targets_speak_of_their_bar_and_symbols, True),
    ("weights are finite", weights_are_finite, True),
    ("no weight is above its bounds", no_weight_is_above_its_bounds, True),
    ("the sum is within the leverage", the_sum_is_within_the_leverage, True),
    ("the worst bars lose no more than their limit", the_worst_bars_lose_no_more_than_their_limit, True),
    ("turnover is the sum of changes", turnover_is_the_sum_of_changes, True),
    ("turnover is within its limit", turnover_is_within_its_limit, True),
    ("a halted book keeps its weights", a_halted_book_keeps_its_weights, True),
    ("a reducing book only shrinks", a_reducing_book_only_shrinks, True),
    ("what has no bar keeps its weight", what_has_no_bar_keeps_its_weight, True),
    ("what has no known risk is not raised", what_has_no_known_risk_is_not_raised, True),
    ("weights lie on six decimals", weights_lie_on_six_decimals, True),
    ("a good book is left alone", a_good_book_is_left_alone, False),
    ("higher costs never trade more", higher_costs_never_trade_more, False),
)
TESTS = (
    completeness.completeness_test("portfolio"),
    *(GateTest(name=name, function=each, required=needed, contracts=("portfolio",)) for name, each, needed in _ALL),
)
