"""A paper book over splits and dividends: booked once, on the ledger, and as the backtest has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from helios.events.models import SystemEvent
from sentinel.audits import accounts
from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Limits
from sentinel.probes import books as probes
from tests.support import networks, parity
from tests.support.apple import action
from tests.support.live_market import make_bars, stored
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, N, _own_process, book, desk, times  # noqa: F401 - fixtures
from tests.tiers.challenge.conftest import run as run_cycle
from tiers.live import action_storage, chain, stages
from trading.books import ledger
from trading.books.accounting import rounded
from trading.market import action_write
from trading.market.bars import PRICES, Bars
from trading.models import (
    Book,
    BookedAction,
    EngineeredFeatures,
    LedgerEntry,
    MarketOHLC,
    Order,
    PortfolioSnapshot,
    Stage,
    TradeExecution,
)

pytestmark = pytest.mark.django_db(transaction=True)
SPLIT_ROW, PAID_ROW, REVERSE_ROW = FIRST + 4, FIRST + 6, FIRST + 7


def traded(bars: Bars) -> Bars:
    """The market where AAPL splits 2 for 1 before a row, and IBM 1 for 7 before a later one."""
    fields: dict[str, Any] = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    for column, row, ratio in ((0, SPLIT_ROW, 2), (1, REVERSE_ROW, 1 / 7)):
        for name in PRICES:
            fields[name][row:, column] /= ratio
        fields["volume"][row:, column] *= ratio
    return replace(bars, **fields)


@pytest.fixture
def bars(db: None, tmp_path: Path, settings: Any) -> Bars:
    """Three symbols of which one splits and pays a dividend, and a model that has opinions."""
    settings.VAR_DIR = tmp_path
    made = stored(traded(make_bars(SYMBOLS, n_bars=N, seed=3)))
    networks.serve(tmp_path, *SYMBOLS, name="first")
    return made


def day(bars: Bars, row: int) -> str:
    return str(bars.ts[row].astype("datetime64[D]"))


def store_actions(bars: Bars) -> None:
    found = [action(day(bars, SPLIT_ROW), "split", 2), action(day(bars, PAID_ROW), "dividend", "0.25")]
    action_write.store("AAPL", found, "test")
    action_write.store("IBM", [action(day(bars, REVERSE_ROW), "split", 1, per=7, symbol="IBM")], "test")


def held(book: Book) -> Decimal:  # noqa: F811
    return book.positions.get(symbol="AAPL").quantity


def unbooked() -> list[str]:
    """What an import says of paper books; a replay is made anew."""
    assert action_storage.unbooked("AAPL") == []
    Book.objects.update(mode="paper")
    said = action_storage.unbooked("AAPL")
    Book.objects.update(mode="replay")
    return said


def test_a_held_position_splits_and_is_paid_as_in_the_backtest(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    store_actions(bars)
    for row in range(FIRST, SPLIT_ROW):
        run_cycle(book, times[row])
    before = held(book)
    assert before > 0
    for row in range(SPLIT_ROW, FIRST + 10):
        run_cycle(book, times[row])
    split, paid, reverse = BookedAction.objects.order_by("bar_ts")
    assert (split.kind, split.quantity, split.remaining, split.bar_ts) == (
        "split",
        before,
        2 * before,
        times[SPLIT_ROW],
    )
    assert (paid.kind, paid.cash) == ("dividend", paid.quantity * Decimal("0.25"))
    whole = reverse.quantity / 7
    assert reverse.remaining == int(whole)
    assert reverse.cash == rounded((whole - reverse.remaining) * reverse.price) > 0
    twin = parity.main(book.name)
    assert twin["orders_equal"]
    assert twin["fills_equal"]
    assert twin["worst"]["equity"] == 0.0
    assert max(twin["worst"].values()) <= 1e-9, twin["worst"]
    equity = [float(each) for each in PortfolioSnapshot.objects.order_by("bar_ts").values_list("equity", flat=True)]
    assert np.abs(np.diff(np.log(equity))).max() < 0.05
    assert ledger.verify(book.pk) is None
    kept = LedgerEntry.objects.get(kind="ingest", cycle__bar_ts=times[SPLIT_ROW]).payload["actions"]
    assert kept == [
        [
            "AAPL",
            f"split 2 for 1 on {day(bars, SPLIT_ROW)}",
            *[f"{q.normalize():f}" for q in (before, 2 * before)],
            *kept[0][4:],
        ]
    ]
    assert audited() == []


def audited() -> list[Any]:
    """What the audits of money find."""
    snapshot = Snapshot.__new__(Snapshot)
    object.__setattr__(snapshot, "cash", probes.cash()[0])
    object.__setattr__(snapshot, "positions", probes.positions()[0])
    return [*accounts.cash(snapshot, Limits()), *accounts.positions(snapshot, Limits())]


def test_an_action_is_booked_once_whatever_is_delivered_again(bars: Bars, book: Book, times: list[datetime]) -> None:  # noqa: F811
    store_actions(bars)
    for row in range(FIRST, SPLIT_ROW):
        run_cycle(book, times[row])
    before = held(book)
    cycle = chain.start(book, times[SPLIT_ROW], send=False)
    for _ in range(3):
        stages.run_stage(cycle.pk, Stage.INGEST)
    assert held(book) == 2 * before
    for stage in chain.STAGES[1:]:
        stages.run_stage(cycle.pk, stage)
    again = chain.start(book, times[SPLIT_ROW + 1], send=False)
    stages.run_stage(again.pk, Stage.INGEST)
    assert BookedAction.objects.filter(kind="split").count() == 1


def test_an_order_of_before_a_split_is_cancelled(bars: Bars, book: Book, times: list[datetime]) -> None:  # noqa: F811
    store_actions(bars)
    run_cycle(book, times[SPLIT_ROW - 1])
    ordered = Order.objects.get(symbol="AAPL")
    run_cycle(book, times[SPLIT_ROW])
    ordered.refresh_from_db()
    assert (ordered.status, ordered.reason) == ("CANCELLED", "its symbol split after the decision")
    assert not TradeExecution.objects.filter(symbol="AAPL").exists()
    assert TradeExecution.objects.filter(symbol="IBM").exists()


def test_shares_that_were_bought_since_are_not_split_by_an_action_that_is_stored_late(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    run_cycle(book, times[SPLIT_ROW])
    run_cycle(book, times[SPLIT_ROW + 1])
    bought = held(book)
    assert bought > 0
    store_actions(bars)
    assert unbooked() == []  # nothing was held when it came
    stages.run_stage(chain.start(book, times[SPLIT_ROW + 2], send=False).pk, Stage.INGEST)
    assert not BookedAction.objects.filter(kind="split").exists()
    assert [each.kind for each in BookedAction.objects.all()] == ["dividend"]  # before its bar; these hold it


def test_a_book_whose_shares_an_action_comes_too_late_for_is_named(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    for row in range(FIRST, SPLIT_ROW + 4):
        run_cycle(book, times[row])
    assert TradeExecution.objects.filter(symbol="AAPL", bar_ts__gt=times[SPLIT_ROW]).exists()
    store_actions(bars)
    run_cycle(book, times[SPLIT_ROW + 4])
    assert not BookedAction.objects.filter(kind="split").exists()
    (said,) = unbooked()
    assert said.startswith(
        f"WARNING: book desk held AAPL over the split 2 for 1 on {day(bars, SPLIT_ROW)}, dividend of"
    )


@pytest.mark.parametrize("right", [PAID_ROW + 1, PAID_ROW + 3])
def test_an_action_whose_day_is_corrected_is_not_booked_again(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
    right: int,
) -> None:
    wrong, corrected = (action(day(bars, row), "dividend", "0.25") for row in (PAID_ROW, right))
    earlier = action(day(bars, PAID_ROW - 40), "dividend", "0.25")  # before the book began
    for row in range(FIRST, PAID_ROW):
        run_cycle(book, times[row])
    action_write.store("AAPL", [earlier, wrong], "test")
    run_cycle(book, times[PAID_ROW])
    paid = BookedAction.objects.get().cash
    action_write.store("AAPL", [earlier, corrected], "test", replaced=True)
    another = action(day(bars, PAID_ROW + 30), "dividend", "0.25")
    action_write.store("AAPL", [another], "test")
    for row in range(PAID_ROW + 1, PAID_ROW + 4):
        run_cycle(book, times[row])
    assert book.positions.get(symbol="AAPL").dividends == paid
    run_cycle(book, times[PAID_ROW + 30])
    assert BookedAction.objects.filter(ex_ts=another.ex_ts).exists()
    (said,) = unbooked()
    assert said == (
        f"WARNING: book desk booked the {wrong} of AAPL, which is stored no more: that stays, and the {corrected} is "
        "taken for it and not booked again"
    )


def test_what_was_booked_and_never_was_is_named(bars: Bars, book: Book, times: list[datetime]) -> None:  # noqa: F811
    for row in range(FIRST, PAID_ROW):
        run_cycle(book, times[row])
    action_write.store("AAPL", [action(day(bars, PAID_ROW), "dividend", "0.25")], "test")
    run_cycle(book, times[PAID_ROW])
    action_write.store("AAPL", [], "test", replaced=True)
    (said,) = unbooked()
    assert said.endswith("is stored no more: that stays, and none is taken for it")


def test_a_dividend_that_is_stored_behind_a_split_is_not_paid_for_the_new_shares(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    for row in range(FIRST, SPLIT_ROW):
        run_cycle(book, times[row])
    split = action(day(bars, SPLIT_ROW), "split", 2)
    action_write.store("AAPL", [split], "test")
    run_cycle(book, times[SPLIT_ROW])
    assert BookedAction.objects.get().kind == "split"
    paid = action(day(bars, SPLIT_ROW), "dividend", "0.25")
    action_write.store("AAPL", [paid], "test")
    run_cycle(book, times[SPLIT_ROW + 1])
    assert BookedAction.objects.get().kind == "split"
    (said,) = unbooked()
    assert said.startswith(f"WARNING: book desk held AAPL over the {paid}, and what it held was traded or split since")


def test_a_book_that_sold_what_a_split_made_is_not_said_to_have_held_it(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    action_write.store("AAPL", [action(day(bars, SPLIT_ROW), "split", 2)], "test")
    for row in range(FIRST, PAID_ROW):
        run_cycle(book, times[row])
    fill = TradeExecution.objects.filter(symbol="AAPL").latest("bar_ts")
    for side, row in (("SELL", PAID_ROW), ("BUY", PAID_ROW + 2)):
        fill.pk, fill.side, fill.quantity, fill.bar_ts, fill.venue_fill_id = None, side, held(book), times[row], side
        fill.save()
    action_write.store("AAPL", [action(day(bars, PAID_ROW + 2), "dividend", "0.25")], "test")
    assert unbooked() == []


def test_a_cycle_without_a_bar_values_split_shares_at_a_price_of_theirs(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    for row in range(FIRST, SPLIT_ROW):
        run_cycle(book, times[row])
    store_actions(bars)
    before = held(book)
    MarketOHLC.objects.filter(symbol="AAPL", timeframe="1d", bar_ts=times[SPLIT_ROW + 1]).delete()
    run_cycle(book, times[SPLIT_ROW + 1])  # that of the bar before was left out
    position = book.positions.get(symbol="AAPL")
    assert position.quantity == 2 * before
    assert float(position.last_price) == bars.close[SPLIT_ROW, 0]
    book.refresh_from_db()
    assert book.peak_equity == max(PortfolioSnapshot.objects.values_list("equity", flat=True))


def test_features_that_were_made_before_an_action_came_are_made_again(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    run_cycle(book, times[SPLIT_ROW + 1])
    others = EngineeredFeatures.objects.exclude(symbol="AAPL").count()
    store_actions(bars)
    ex_ts = action(day(bars, SPLIT_ROW), "split", 2).ex_ts
    assert not EngineeredFeatures.objects.filter(symbol="AAPL", bar_ts__gt=ex_ts).exists()
    assert EngineeredFeatures.objects.filter(symbol="AAPL").exists()
    assert EngineeredFeatures.objects.exclude(symbol="AAPL").count() == others
    run_cycle(book, times[SPLIT_ROW + 2])
    assert parity.main(book.name)["worst"]["features"] <= 1e-9


def test_a_jump_without_an_action_is_told_loudly(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    run_cycle(book, times[SPLIT_ROW - 1])
    assert not SystemEvent.objects.filter(kind="market.jumped").exists()
    run_cycle(book, times[SPLIT_ROW])
    event = SystemEvent.objects.get(kind="market.jumped")
    assert event.severity == "warning"
    (said,) = event.data["jumps"]
    assert said.startswith(f"AAPL {day(bars, SPLIT_ROW)} opens at ")
    assert said.endswith("looks like a split of 2 for 1")
    run_cycle(book, times[SPLIT_ROW + 1])
    assert SystemEvent.objects.filter(kind="market.jumped").count() == 1


def test_what_came_of_forecasts_is_told_over_splits_as_if_there_were_none(
    bars: Bars,
    book: Book,  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    def worth() -> tuple[float, ...]:
        spans = [(SPLIT_ROW - 1, SPLIT_ROW), (SPLIT_ROW, PAID_ROW), (SPLIT_ROW - 1, PAID_ROW)]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {', '.join(['worth_of_share(%s, %s, %s, 50)'] * len(spans))}",
                [each for first, last in spans for each in ("AAPL", times[first], times[last])],
            )
            return cursor.fetchone()

    run_cycle(book, times[SPLIT_ROW - 1])
    assert worth() == (50.0, 50.0, 50.0)
    store_actions(bars)
    assert worth() == (100.0, 50.25, 100.5)  # the dividend is for each of the new shares
    action_write.store("AAPL", [action(day(bars, SPLIT_ROW), "dividend", 3)], "test")
    assert worth() == (103.0, 50.25, 103.5)  # on the day of the split for one of the old
    with connection.cursor() as cursor:
        cursor.execute("SELECT mean_return_after_buy, mean_return_after_sell FROM v_ml_accuracy WHERE symbol = 'AAPL'")
        assert all(each is None or abs(each) < 0.25 for each in cursor.fetchone())


def test_actions_cost_a_cycle_one_query_and_where_none_has_come_nothing(
    bars: Bars,
    desk: Callable[[str], Book],  # noqa: F811
    times: list[datetime],  # noqa: F811
) -> None:
    def counted(name: str) -> int:
        made = desk(name)
        run_cycle(made, times[FIRST])
        with CaptureQueriesContext(connection) as queries:
            run_cycle(made, times[FIRST + 1])
        return len(queries) - 3 * made.orders.filter(bar_ts=times[FIRST + 1]).count()

    without = counted("without")
    store_actions(bars)
    assert counted("future") == without  # none has come yet
    action_write.store("AAPL", [action(day(bars, 100), "split", 2)], "test")
    assert counted("with") <= without + 1  # what is due; windows keep what they know
