"""What hard guards read after every cycle: only what is new, and exactly the figures of the whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from helios.rollouts import advancing, providers
from helios.rollouts.core.assignment import Arm
from helios.rollouts.models import Rollout, RolloutDecision
from tests.support.challengers import SAME
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, roll_out
from tiers.challenge import measures
from tiers.challenge.measures import Measures
from trading.models import Book, Order, PipelineCycle, PortfolioSnapshot, TradeExecution

pytestmark = pytest.mark.django_db
HORIZON = 5


class Past:
    """Cycles of two books with what both arms said in them and what came of it, written straight into the tables."""

    def __init__(self, row: Rollout, books: list[Book], times: list[datetime], *, seed: int, shadow: bool) -> None:
        self.row, self.books, self.times, self.shadow = row, books, times, shadow
        self.random, self.reached = random.Random(seed), {book.pk: FIRST for book in books}

    def cycle(self, book: Book) -> None:
        """One more bar of a book."""
        bar_ts = self.times[self.reached[book.pk]]
        self.reached[book.pk] += 1
        failed = self.random.random() < 0.15
        cycle = PipelineCycle.objects.create(
            book=book,
            timeframe="1d",
            bar_ts=bar_ts,
            mode="replay",
            status="FAILED" if failed else "DONE",
            stage="predict" if failed else "done",
            finished_at=bar_ts,
        )
        for symbol in SYMBOLS:
            for arm in Arm:
                decides = not self.shadow and (symbol == SYMBOLS[0]) == (arm is Arm.CHALLENGER)
                self._decision(cycle, symbol, arm.value, shadow=not decides)
            if not self.shadow and not failed:
                self._order(cycle, symbol)
        if not failed:
            self._snapshot(cycle)
        for order in Order.objects.filter(book=book, status="ACCEPTED"):  # what the next bar makes of it
            Order.objects.filter(pk=order.pk).update(status=self.random.choice(["FILLED", "REJECTED", "CANCELLED"]))
            self._fill(order, bar_ts)

    def _decision(self, cycle: PipelineCycle, symbol: str, arm: str, *, shadow: bool = True) -> None:
        shares = [self.random.random() + 0.01 for _ in range(3)]
        error = "broken" if arm == "challenger" and self.random.random() < 0.2 else ""
        value = {
            "weight": self.random.random() / 3,
            "probability": [share / sum(shares) for share in shares],
            "horizon_bars": HORIZON,
            "model": "first",
        }
        RolloutDecision.objects.create(
            rollout=self.row,
            step=self.row.step,
            arm=arm,
            shadow=shadow,
            cycle_id=cycle.pk,
            bar_ts=cycle.bar_ts,
            symbol=symbol,
            value=value if not error and self.random.random() < 0.9 else {},
            latency_ms=self.random.random() * 20,
            error=error,
            recorded_at=self.row.measured_since + timedelta(seconds=1),
        )

    def _order(self, cycle: PipelineCycle, symbol: str) -> None:
        Order.objects.create(
            book=cycle.book,
            cycle=cycle,
            client_order_id=f"{cycle.pk}-{symbol}",
            symbol=symbol,
            side=self.random.choice(["BUY", "SELL"]),
            quantity=Decimal(3),
            reference_price=Decimal(10),
            bar_ts=cycle.bar_ts,
            status="ACCEPTED",
            sending_at=cycle.bar_ts,
        )

    def _fill(self, order: Order, bar_ts: datetime) -> None:
        TradeExecution.objects.create(
            order=order,
            book=order.book,
            venue_fill_id=f"fill-{order.pk}",
            symbol=order.symbol,
            side=order.side,
            quantity=Decimal(3),
            price=Decimal(10),
            notional=Decimal(30),
            fee=Decimal(self.random.randrange(3)),
            bar_ts=bar_ts,
        )

    def _snapshot(self, cycle: PipelineCycle) -> None:
        equity = Decimal(self.random.randrange(90_000, 110_000))
        PortfolioSnapshot.objects.create(
            book=cycle.book,
            cycle=cycle,
            bar_ts=cycle.bar_ts,
            equity=equity,
            cash=equity,
            peak_equity=equity,
            gross_exposure=0.5,
            drawdown=0.0,
            weights={symbol: self.random.random() / 3 for symbol in SYMBOLS},
        )


@pytest.fixture
def past(desk: Callable[[str], Book], times: list[datetime], challenger: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a past in shadow or live; two decisions more and a cycle is settled."""
    monkeypatch.setattr(measures, "SETTLED_AFTER", 2)

    def make(*, shadow: bool, seed: int = 0) -> Past:
        row = roll_out("module", "predict", challenger("predict", SAME["predict"]), live=0 if shadow else 50)
        return Past(row, [desk("one"), desk("two")], times, seed=seed, shadow=shadow)

    return make


def both(provider: Measures, row: Rollout) -> tuple[Any, Any]:
    step = (row.pk, row.step, row.measured_since)
    return provider.remembering(*step), provider(*step)


@pytest.mark.parametrize("shadow", [True, False], ids=["shadow", "live"])
def test_what_is_remembered_gives_the_figures_of_the_whole_after_every_cycle(past: Any, shadow: bool) -> None:
    made = past(shadow=shadow, seed=4)
    quick, seldom = Measures(), Measures()  # two processes: one looks after every cycle, one now and then
    for number in range(30):
        made.cycle(made.books[made.random.random() < 0.3])
        remembered, whole = both(quick, made.row)
        assert remembered == whole
        if number % 7 == 0:
            assert seldom.remembering(made.row.pk, made.row.step, made.row.measured_since) == whole
    assert len(whole["challenger"].losses) > 5
    assert whole["challenger"].drawdown
    assert quick._memories[made.row.pk].totals["challenger"].n_decisions > 5  # or nothing was ever settled


@pytest.mark.parametrize("shadow", [True, False], ids=["shadow", "live"])
def test_the_work_after_a_cycle_does_not_grow_with_the_cycles_before_it(
    past: Any, shadow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither queries nor rows: also where another book of the rollout has stood still since long ago."""
    made, provider, read = past(shadow=shadow), Measures(), []
    real_rows, real_tuples = measures._rows, measures._tuples

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> list[Any]:
            rows = list(real(*args))
            read.append(len(rows))
            return rows

        return call

    monkeypatch.setattr(measures, "_rows", counted(real_rows))
    monkeypatch.setattr(measures, "_tuples", counted(real_tuples))
    for _ in range(3):
        made.cycle(made.books[1])
    work = []
    for _ in range(26):
        made.cycle(made.books[0])
        read.clear()
        with CaptureQueriesContext(connection) as queries:
            provider.remembering(made.row.pk, made.row.step, made.row.measured_since)
        work.append((len(queries), sum(read)))
    early, late = work[12:18], work[20:]
    assert max(n for n, _ in late) <= max(n for n, _ in early) <= 14
    assert max(n for _, n in late) <= max(n for _, n in early) * 1.3  # a cycle that failed has fewer rows
    read.clear()
    provider(made.row.pk, made.row.step, made.row.measured_since)
    assert sum(read) > 2 * late[-1][1], "the whole is more, or this proves nothing"


@pytest.mark.parametrize("readings", [1, 9])
def test_decisions_of_a_cycle_that_still_ran_are_read_when_they_come(past: Any, readings: int) -> None:
    """A slow book's cycle has the lower number, and says what it says, and ends, between two readings."""
    made, provider = past(shadow=True), Measures()
    slow = PipelineCycle.objects.create(
        book=made.books[1], timeframe="1d", bar_ts=made.times[FIRST], mode="replay", status="RUNNING"
    )
    for _ in range(readings):
        made.cycle(made.books[0])
        provider.remembering(made.row.pk, made.row.step, made.row.measured_since)
    for symbol in SYMBOLS:
        made._decision(slow, symbol, "challenger")
    PipelineCycle.objects.filter(pk=slow.pk).update(status="DONE", stage="done", finished_at=made.times[FIRST])
    for _ in range(4):
        remembered, whole = both(provider, made.row)
        assert remembered == whole
        assert whole["challenger"].n_decisions > 0
        made.cycle(made.books[0])


def test_a_step_that_begins_anew_is_read_anew(past: Any) -> None:
    made, provider = past(shadow=True), Measures()
    for _ in range(9):
        made.cycle(made.books[0])
    both(provider, made.row)
    made.row.measured_since += timedelta(hours=1)
    remembered, whole = both(provider, made.row)
    assert remembered == whole
    assert whole["challenger"].n_decisions == 0


def test_guards_read_what_is_new_and_analyses_the_whole(past: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = past(shadow=True), []
    monkeypatch.setattr(Measures, "remembering", lambda self, *step: asked.append("new") or self(*step))
    made.cycle(made.books[0])
    advancing.react(made.row.pk)
    assert asked == ["new"]
    providers.measure(made.row)
    assert asked == ["new"]
