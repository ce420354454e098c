"""One account over history, bar by bar, in the order in which a live cycle does it.

At every bar splits and dividends since the bar before are booked, the orders of the bar before fill at the open
(`trading.venues.paper.matching.settle`), the book is marked at the close, the decision is made with what is known then,
and its orders wait for the next bar of their symbols. Those of a symbol without a bar wait on for up to a week, whether
or not other symbols have one: a decision is not about it, and ends only what the state of the book forbids now
(`BookView.standing`), as the live chain does. A split ends those of before. Orders of the last bar stay unfilled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import compress

import numpy as np

from tiers.contracts import (
    Bars,
    BookView,
    BoolArray,
    Denial,
    FloatArray,
    OrderIntent,
    TargetWeights,
    TradingState,
)
from tiers.contracts.ended import ended
from tiers.contracts.errors import DataError
from trading.books.accounting import ZERO, Account, Booked, Fill, OpenOrder, exact
from trading.market.actions import Action
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.timestamps import stamp, utc_times
from trading.venues.paper import matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What trading costs, in basis points of the traded value."""

    fee_bps: Decimal = Decimal(5)
    slippage_bps: Decimal = Decimal(2)

    def __post_init__(self) -> None:
        for name, value in (("fee_bps", self.fee_bps), ("slippage_bps", self.slippage_bps)):
            if not value.is_finite() or not ZERO <= value < 10_000:
                raise DataError(f"{name} must be from 0 to below 10000, was {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """The book before the first decided bar."""

    cash: Decimal = Decimal(100_000)
    state: TradingState = TradingState.ACTIVE

    def __post_init__(self) -> None:
        if not self.cash.is_finite() or self.cash <= 0:
            raise DataError(f"cash must be more than 0, was {self.cash}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a decision leaves behind for the simulator."""

    targets: TargetWeights
    intents: tuple[OrderIntent, ...]
    state: TradingState
    denials: tuple[Denial, ...] = ()


Decide = Callable[[int, BookView], Step]
Report = Callable[[int, int], None]  # bars done, bars in all


@dataclass(slots=True, kw_only=True)
class Run:
    """The account over the decided bars, row 0 being the first of them; arrays are (n_rows, n_symbols)."""

    ts: tuple[datetime, ...]
    symbols: tuple[str, ...]
    equity: list[Decimal] = field(default_factory=list)
    cash: list[Decimal] = field(default_factory=list)
    held: FloatArray  # weights at the close, before the new orders
    targets: FloatArray  # wanted weights; NaN in rows without a decision
    reasons: list[str] = field(default_factory=list)
    states: list[TradingState] = field(default_factory=list)
    orders: list[tuple[OrderIntent, ...]] = field(default_factory=list)  # decided at the row
    booked: list[tuple[Booked, ...]] = field(default_factory=list)  # splits and dividends of the row, before its fills
    fills: list[tuple[Fill, ...]] = field(default_factory=list)  # happened in the row
    unfilled: list[OpenOrder] = field(default_factory=list)  # no cash for a single lot
    cancelled: list[OpenOrder] = field(default_factory=list)  # ended while they waited for a bar
    open_orders: list[OpenOrder] = field(default_factory=list)  # still waiting behind the last bar
    denials: Counter[str] = field(default_factory=Counter)  # how often each code was given; a halted row has its own
    prices: dict[str, Decimal] = field(default_factory=dict)  # last close known

    @property
    def equity_curve(self) -> FloatArray:
        """Equity at each close as float64, (n_rows,)."""
        return np.array([float(value) for value in self.equity])

    @property
    def all_fills(self) -> list[Fill]:
        return [fill for row in self.fills for fill in row]

    @property
    def all_booked(self) -> list[Booked]:
        return [each for row in self.booked for each in row]

    @property
    def moves(self) -> list[Fill | Booked]:
        """All that moved the account, in order."""
        found: list[Fill | Booked] = []
        for booked, fills in zip(self.booked, self.fills, strict=True):
            found += [*booked, *fills]
        return found

    @property
    def halted_from(self) -> datetime | None:
        """The first bar at which the book was halted: nothing was decided from then on."""
        return next((ts for ts, state in zip(self.ts, self.states, strict=True) if state is TradingState.HALTED), None)

    @property
    def cancelled_by_symbol(self) -> Counter[str]:
        return Counter(order.symbol for order in self.cancelled)

    @property
    def fees_paid(self) -> Decimal:
        return sum((fill.fee for fill in self.all_fills), ZERO)

    @property
    def traded_notional(self) -> Decimal:
        return sum((fill.notional for fill in self.all_fills), ZERO)


def simulate(
    bars: Bars,
    decide: Decide,
    *,
    initial: Initial,
    costs: Costs,
    steps: Mapping[str, Decimal],
    start_row: int = 0,
    decided: BoolArray | None = None,
    report: Report | None = None,
) -> Run:
    """Run `decide` over the rows of `bars` from `start_row` on; earlier rows only give last known prices.

    `steps` names the smallest quantity of every symbol. `decided` (n_bars,) marks the rows on which `decide`
    has something to say; the others are only filled and marked. `DataError` when no row is left to decide.
    """
    if not 0 <= start_row < bars.n_bars:
        raise DataError(f"start_row must be from 0 to {bars.n_bars - 1}, was {start_row}")
    simulation = _Simulation(bars, initial=initial, costs=costs, steps=steps, start_row=start_row)
    n_rows = bars.n_bars - start_row
    for done, row in enumerate(range(start_row, bars.n_bars), start=1):
        simulation.settle(row)
        simulation.mark(row)
        simulation.decide(row, decide if decided is None or decided[row] else None)
        if report is not None:
            report(done, n_rows)
    simulation.run.open_orders = list(simulation.waiting)
    simulation.run.prices = simulation.prices
    return simulation.run


class _Simulation:
    """The state that moves along: account, waiting orders, last closes, peak equity, trading state."""

    __slots__ = (
        "account",
        "actions",
        "bars",
        "costs",
        "ended",
        "peak",
        "present",
        "prices",
        "run",
        "start_row",
        "state",
        "steps",
        "times",
        "values",
        "waiting",
    )

    def __init__(
        self, bars: Bars, *, initial: Initial, costs: Costs, steps: Mapping[str, Decimal], start_row: int
    ) -> None:
        shape = (bars.n_bars - start_row, bars.n_symbols)
        self.bars, self.costs, self.steps, self.start_row = bars, costs, steps, start_row
        self.times = utc_times(bars.ts)
        self.present, self.ended = np.isfinite(bars.close), ended(bars)
        self.actions = actions_by_row(bars)
        self.account = Account(initial.cash)
        self.peak, self.state = initial.cash, initial.state
        self.waiting: list[OpenOrder] = []
        self.values: dict[str, Decimal] = {}  # of what is held, at the last close
        self.prices = last_closes(bars, start_row)
        self.run = Run(
            ts=self.times[start_row:],
            symbols=bars.symbols,
            held=np.zeros(shape),
            targets=np.full(shape, np.nan),
        )

    def settle(self, row: int) -> None:
        """Book splits and dividends, end what no bar came for in a week, and fill what waits at the row's open."""
        timeframe, bar_ts = self.bars.timeframe, self.times[row]
        self._adapt(row)
        self._end({order for order in self.waiting if matching.is_late(order.bar_ts, bar_ts, timeframe)})
        if not self.waiting:
            self.run.fills.append(())
            return
        symbols = {order.symbol for order in self.waiting}
        opens = {
            symbol: exact(float(self.bars.open[row, column]))
            for column, symbol in enumerate(self.bars.symbols)
            if symbol in symbols and np.isfinite(self.bars.open[row, column])
        }
        results = matching.settle(
            self.account,
            self.waiting,
            opens,
            bar_ts=bar_ts,
            fee_bps=self.costs.fee_bps,
            slippage_bps=self.costs.slippage_bps,
            steps=self.steps,
        )
        done = {order.client_order_id for order, _ in results}
        self.waiting = [order for order in self.waiting if order.client_order_id not in done]
        self.run.unfilled += [order for order, fill in results if fill is None]
        self.run.fills.append(tuple(fill for _, fill in results if fill is not None))

    def _adapt(self, row: int) -> None:
        """Book the actions of the row; an order of before a split is of other shares, and ends."""
        found: list[Booked | None] = []
        for action in self.actions.get(row, ()):
            price = exact(float(self.bars.open[row, self.bars.symbols.index(action.symbol)]))
            step = self.steps[action.symbol]
            found.append(self.account.book(action, price=price, step=step, bar_ts=self.times[row]))
            self._end({order for order in self.waiting if matching.is_of_old_shares(order, action)})
        self.run.booked.append(tuple(each for each in found if each is not None))

    def mark(self, row: int) -> None:
        """Value the book at the row's close."""
        closes = self.bars.close[row].tolist()
        for column in self.present[row].nonzero()[0].tolist():
            self.prices[self.bars.symbols[column]] = exact(closes[column])
        self.values = self.account.values(self.prices)
        equity = self.account.cash + sum(self.values.values(), ZERO)
        self.peak = max(self.peak, equity)
        self.run.equity.append(equity)
        self.run.cash.append(self.account.cash)

    def decide(self, row: int, decide: Decide | None) -> None:
        """Ask for the decision, if there is one, and let its orders wait for the next bar."""
        index = row - self.start_row
        if decide is None:
            self._weigh(index)
            self.run.orders.append(())
            self.run.reasons.append("")
        else:
            book = self._book(row)
            self.run.held[index] = book.held_weights
            step = decide(row, book)
            self.state = step.state
            self.run.targets[index] = step.targets.weights
            self.run.orders.append(step.intents)
            self.run.reasons.append(step.targets.reason)
            halted = step.state is TradingState.HALTED  # whatever else is refused would not have been done
            self.run.denials.update(["BOOK_HALTED"] if halted else (denial.code for denial in step.denials))
            standing = book.standing(step.state)
            self._end({order for order in self.waiting if order.symbol not in standing})
            self.waiting += [waiting_order(intent) for intent in step.intents]
        self.run.states.append(self.state)

    def _end(self, ended: set[OpenOrder]) -> None:
        self.run.cancelled += [order for order in self.waiting if order in ended]
        self.waiting = [order for order in self.waiting if order not in ended]

    def _weigh(self, index: int) -> None:
        equity = float(self.run.equity[-1])
        if equity > 0:
            for symbol, value in self.values.items():
                self.run.held[index, self.bars.symbols.index(symbol)] = float(value) / equity

    def _book(self, row: int) -> BookView:
        symbols, bar_ts = self.bars.symbols, self.times[row]
        return BookView(
            bar_ts=bar_ts,
            symbols=symbols,
            equity=self.run.equity[-1],
            peak_equity=self.peak,
            cash=self.account.cash,
            quantity=tuple(self.account.quantity(symbol) for symbol in symbols),
            price=tuple(self.prices.get(symbol) for symbol in symbols),
            tradable=self.present[row],
            ended=frozenset(compress(symbols, self.ended[row])),
            state=self.state,
            waiting={o.symbol: o.signed_quantity for o in self.waiting if o.bar_ts >= bar_ts - LONGEST_CLOSURE},
        )


def actions_by_row(bars: Bars) -> dict[int, list[Action]]:
    """The actions by the row of the first bar of their symbol without them."""
    found: dict[int, list[Action]] = {}
    for action in bars.actions:
        known = np.isfinite(bars.close[:, bars.symbols.index(action.symbol)])
        rows = np.flatnonzero(known & (bars.ts > stamp(action.ex_ts)))
        if len(rows):
            found.setdefault(int(rows[0]), []).append(action)
    return found


def waiting_order(intent: OrderIntent) -> OpenOrder:
    """The order that the paper venue holds for an intent."""
    return OpenOrder(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=str(intent.side),
        quantity=intent.quantity,
        bar_ts=intent.bar_ts,
    )


def last_closes(bars: Bars, row: int) -> dict[str, Decimal]:
    """The last close of each symbol before `row`, where it has one."""
    found = {}
    for column, symbol in enumerate(bars.symbols):
        known = np.flatnonzero(np.isfinite(bars.close[:row, column]))
        if len(known):
            found[symbol] = exact(float(bars.close[known[-1], column]))
    return found
