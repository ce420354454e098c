"""A strategy of `trading.strategies` in the place of tier 6: for the symbols of its arm, later for a whole book."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.db import transaction

from helios import events
from helios.rollouts.core.assignment import Assignment
from tiers.challenge import merge
from tiers.contracts import Bars, BookView, FloatArray, RiskDecision, TargetWeights
from tiers.contracts.errors import Rejected
from tiers.contracts.parameters import PortfolioParams
from tiers.contracts.weights import quantised
from trading.books.read import get_book
from trading.models import Book
from trading.strategies import Strategy
from trading.strategies.registry import TIERS, label, make

MOST_BARS = 2_000  # own bars that a strategy may look back on: every cycle of its book loads them


def check(target: str, challenger: str, params: Mapping[str, Any]) -> str:
    """Whether `challenger` may be tried on the book `target`; returns the label of what serves that book now.

    `Rejected` for a book or strategy that does not exist, for parameters that it does not take, for one that looks
    back further than `MOST_BARS`, and for the strategy that serves already.
    """
    book = get_book(target)
    if (needed := bars_needed([(challenger, params)])) > MOST_BARS:
        raise Rejected(f"{challenger} must need {MOST_BARS:,} bars at most, needs {needed:,}")
    now = label(*serving(book))
    if label(challenger, params) == now:
        raise Rejected(f"{now} serves book {target!r} already")
    return now


def promote(target: str, challenger: str, params: Mapping[str, Any], *, actor: str, reason: str) -> None:
    """Let the strategy decide every weight of the book from its next cycle on; `helios` are the tiers themselves."""
    with transaction.atomic():
        book = Book.objects.select_for_update().get(pk=get_book(target).pk)
        before, after = label(*serving(book)), label(challenger, params)
        if before == after:
            return
        book.strategy = {} if challenger == TIERS else {"name": challenger, "params": dict(params)}
        book.save(update_fields=["strategy", "updated_at"])
        events.record(
            kind="strategy.promoted",
            source="tiers.challenge",
            subject=target,
            data={"before": before, "after": after, "actor": actor, "reason": reason},
        )


@dataclass(kw_only=True)
class Allocation:
    """Tier 6 of one cycle: the tiers' own targets, the strategy that serves the book, and those that challenge it."""

    book: Book
    bars: Bars
    risk: RiskDecision
    view: BookView
    returns: FloatArray
    params: PortfolioParams
    own: TargetWeights | None = None  # of the tiers, once they were asked
    listed: Collection[str] = ()  # the symbols between which a strategy divides the money

    def serving(self, own: TargetWeights) -> TargetWeights:
        """What the book goes by: the tiers' targets, or those of its strategy."""
        self.own = own
        name, params = serving(self.book)
        return own if name == TIERS else self._of(make(name, params), own)

    def challenging(self, assignment: Assignment) -> TargetWeights:
        """What a challenging strategy wants from what `view` holds; `helios` are the tiers."""
        if self.own is None:
            raise ValueError("the champion must be asked before its challengers, was not")
        if assignment.challenger == TIERS:
            return self.own
        return self._of(make(assignment.challenger, assignment.params), self.own)

    def merged(self, own: TargetWeights, other: TargetWeights, served: frozenset[str]) -> TargetWeights:
        """The champion's targets with the challenger's for its symbols, inside the limits of the book."""
        return merge.targets(
            own,
            other.weights,
            served,
            risk=self.risk,
            returns=self.returns,
            book=self.view,
            params=self.params,
            refused=other.denials,
        )

    def _of(self, strategy: Strategy, own: TargetWeights) -> TargetWeights:
        """Its wanted weights inside the bounds of the risk decision, from what is held."""
        held = replace(
            own,
            weights=quantised(self.view.weights),
            previous=self.view.weights,
            turnover=0.0,
            method=strategy.name,
            reason="no_change",
            denials=(),
        )
        wanted, of_them = self.view.weights.copy(), merge.mask(self.bars.symbols, self.listed)
        wanted[of_them] = wanted_weights(strategy, self.bars.close[:, of_them], wanted[of_them])
        return self.merged(held, replace(held, weights=wanted), frozenset(own.symbols))


def wanted_weights(strategy: Strategy, close: FloatArray, held: FloatArray) -> FloatArray:
    """(n_symbols,) wanted weights at the last row of `close` (n_bars, n_symbols); what is held where it asks nothing.

    A strategy speaks where its state changes, and begins flat. A symbol that is not in the state it should be in (the
    strategy took the book over, or an order was not filled) is brought there; one that is drifts with its price. How
    far the window reaches back beyond what the strategy needs changes nothing.
    """
    own = np.isfinite(close)
    with_two = (own[::-1].cumsum(axis=0)[::-1] >= 2).sum(axis=0)  # rows up to a symbol's last bar but one
    starts = np.where(with_two > 0, with_two, len(close)) - 1
    asked: FloatArray = np.full(close.shape, np.nan)
    for start in np.unique(starts):  # whatever became of the others since
        alike = starts == start
        asked[:, alike] = strategy.weights(close, start_row=int(start))[:, alike]
    known = np.isfinite(asked)
    last = len(asked) - 1 - known[::-1].argmax(axis=0)
    warm = own.sum(axis=0) >= max(1, strategy.warmup_bars)
    state = np.where(known.any(axis=0), asked[last, np.arange(asked.shape[1])], np.where(warm, 0.0, np.nan))
    settled = np.isnan(state) | (~known[-1] & ((state > 0.0) == (held > 0.0)))
    out: FloatArray = np.where(settled, held, state)
    return out


def bars_needed(strategies: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Own bars behind what these strategies want at a bar, its own included; the tiers ask for theirs themselves."""
    return max((make(*each).warmup_bars + 1 for each in strategies if each[0] != TIERS), default=0)


def serving(book: Book) -> tuple[str, dict[str, Any]]:
    """The strategy that serves a book, with its parameters."""
    return (book.strategy["name"], book.strategy["params"]) if book.strategy else (TIERS, {})


__all__ = ["Allocation", "bars_needed", "check", "promote", "serving", "wanted_weights"]
