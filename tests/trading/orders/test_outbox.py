"""The outbox: claimed once, sent once, asked about when unclear."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from helios.db.partitions import ensure_partitions
from helios.errors import Rejected
from tests.support.orders import Intent, record_intents
from tests.support.venue import fates
from trading.books import write as books
from trading.books.accounting import replay
from trading.market import instruments
from trading.models import MarketOHLC, Order, PaperOrder, PipelineCycle, Position, TradeExecution
from trading.orders import outbox
from trading.orders.fills import settle
from trading.venues import registry
from trading.venues.paper.client import PaperVenue

pytestmark = pytest.mark.django_db

T = datetime(2024, 1, 2, 21, tzinfo=UTC)
NEXT = T + timedelta(days=1)
CLOSES = {"AAPL": D(101), "IBM": D(52)}


def opens(at=NEXT, **prices):
    """Store the next bar of each symbol with this open."""
    ensure_partitions("market_ohlc", "year", at, at)
    for symbol, price in prices.items():
        MarketOHLC.objects.create(
            symbol=symbol,
            timeframe="1d",
            bar_ts=at,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=1,
            source="t",
        )


def lots(book):
    return instruments.lots(instruments.named(book.symbols))


def test_a_sent_order_is_with_the_venue_under_its_own_id(cycle):
    record_intents(cycle, [Intent()])
    assert outbox.flush(cycle) == 0
    assert fates() == ["ACCEPTED"]
    assert PaperOrder.objects.get().client_order_id == "h-AAPL-BUY-02"


def test_sending_again_sends_nothing(cycle):
    record_intents(cycle, [Intent()])
    assert [outbox.flush(cycle), outbox.flush(cycle)] == [0, 0]
    assert PaperOrder.objects.count() == 1


def test_a_withheld_order_is_recorded_and_never_sent(cycle):
    record_intents(cycle, [Intent()], withhold="auto_trading is off")
    assert outbox.flush(cycle) == 0
    assert fates() == ["WITHHELD"]
    assert not PaperOrder.objects.exists()


@pytest.mark.parametrize("arrived", [True, False])
def test_a_sender_that_died_in_between_leaves_nothing_doubled(cycle, arrived):
    record_intents(cycle, [Intent()])
    Order.objects.update(status="SENDING")
    if arrived:
        PaperVenue().submit(Order.objects.get())
    outbox.flush(cycle)
    assert fates() == ["ACCEPTED"]
    assert PaperOrder.objects.count() == 1


def test_one_decision_makes_one_order(cycle):
    from django.db import IntegrityError, transaction

    record_intents(cycle, [Intent()])
    with pytest.raises(IntegrityError), transaction.atomic():
        record_intents(cycle, [Intent()])


def test_a_live_book_has_no_broker_yet(cycle):
    cycle.book.mode = "live"
    with pytest.raises(Rejected, match="only the paper venue"):
        registry.venue_for(cycle.book)


def later(book, days=1):
    PipelineCycle.objects.update(status="DONE", finished_at=NEXT)
    return PipelineCycle.objects.create(book=book, timeframe="1d", bar_ts=T + timedelta(days=days), mode="paper")


def test_what_an_earlier_bar_never_sent_ends_with_the_decision_that_supersedes_it(cycle, book):
    record_intents(cycle, [Intent()])
    assert outbox.supersede(later(book)) == 1
    assert fates() == ["CANCELLED"]


def test_a_decision_supersedes_no_order_of_a_symbol_that_it_leaves_standing(cycle, book):
    record_intents(cycle, [Intent(), Intent("IBM", side="SELL")])
    assert outbox.waiting(book, ["AAPL", "IBM", "GOOG"], NEXT) == {"AAPL": D(10), "IBM": D(-10)}
    assert outbox.waiting(book, ["IBM"], T) == outbox.waiting(book, ["IBM"], T + timedelta(days=8)) == {}
    Order.objects.filter(symbol="AAPL").update(status="ACCEPTED", filled_quantity=4)
    assert outbox.waiting(book, ["AAPL"], NEXT) == {"AAPL": D(6)}
    assert outbox.supersede(later(book), standing={"AAPL"}) == 1
    assert dict(Order.objects.values_list("symbol", "status")) == {"AAPL": "ACCEPTED", "IBM": "CANCELLED"}
    assert outbox.supersede(later(book, 2)) == 1
    assert outbox.waiting(book, ["AAPL"], NEXT) == {}


@pytest.mark.parametrize("before", ["ACCEPTED", "UNKNOWN", "SENDING"])
def test_what_may_be_with_the_venue_is_cancelled_there_once_the_decision_is_committed(cycle, book, before):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    Order.objects.update(status=before)
    following = later(book)
    assert outbox.supersede(following) == 1
    assert fates() == [before]
    assert PaperOrder.objects.get().status == "OPEN"
    assert outbox.flush(following) == 0
    assert (fates(), PaperOrder.objects.get().status) == (["CANCELLED"], "CANCELLED")
    assert Order.objects.get().reason == "superseded by a later decision"


def test_a_decision_that_is_rolled_back_cancels_nothing(cycle, book):
    from django.db import transaction

    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    with transaction.atomic():
        outbox.supersede(later(book))
        transaction.set_rollback(True)
    assert (fates(), PaperOrder.objects.get().status) == (["ACCEPTED"], "OPEN")


def test_settlement_books_fills_positions_cash_and_orders_together(cycle, book):
    record_intents(cycle, [Intent(), Intent("IBM", "BUY", D(5), D(50))])
    outbox.flush(cycle)
    opens(AAPL=101, IBM=52)
    fills = settle(book, NEXT, CLOSES, lots(book)).fills
    assert [f.quantity for f in fills] == [10, 5]
    book.refresh_from_db()
    account = replay(book.initial_cash, fills)
    assert book.cash == account.cash
    assert Position.objects.get(symbol="AAPL").average_price == D(101)
    assert fates() == ["FILLED", "FILLED"]
    assert TradeExecution.objects.count() == 2


def test_settling_the_same_bar_again_changes_nothing(cycle, book):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    opens(AAPL=101)
    first = settle(book, NEXT, CLOSES, lots(book)).fills
    assert (len(first), settle(book, NEXT, CLOSES, lots(book)).fills) == (1, [])


def test_what_the_cash_does_not_cover_is_told(cycle, book):
    record_intents(cycle, [Intent(quantity=D(500))])
    outbox.flush(cycle)
    opens(AAPL=100)
    settle(book, NEXT, CLOSES, lots(book))
    order = Order.objects.get()
    assert order.filled_quantity == 99
    assert order.reason.startswith("INSUFFICIENT_CASH: 401 of 500")


def test_an_order_without_any_cash_behind_it_is_cancelled(cycle, book):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    book.cash = D(1)
    opens(AAPL=100)
    assert settle(book, NEXT, CLOSES, lots(book)).fills == []
    assert fates() == ["CANCELLED"]


@pytest.mark.parametrize(("n_days", "fate"), [(8, "FILLED"), (9, "CANCELLED")])
def test_an_order_whose_next_bar_begins_more_than_a_week_later_is_cancelled(cycle, book, n_days, fate):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    late = T + timedelta(days=n_days)
    opens(at=late, AAPL=100)
    settle(book, late, CLOSES, lots(book))
    assert fates() == [fate] == [PaperOrder.objects.get().status]
    told = Order.objects.get().reason
    assert told == ("no bar of its symbol came for a week" if fate == "CANCELLED" else "")


def test_what_waits_when_its_book_is_halted_is_not_filled(cycle, book):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    books.set_state(book.name, "HALTED", actor="ana", reason="storm")
    book.refresh_from_db()
    opens(AAPL=100)
    assert settle(book, NEXT, CLOSES, lots(book)).fills == []
    assert fates() == ["CANCELLED"] == [PaperOrder.objects.get().status]
    assert Order.objects.get().reason == "the book was halted before it filled"
    books.set_state(book.name, "ACTIVE", actor="ana", reason="calm")
    assert settle(book, NEXT, CLOSES, lots(book)).fills == []


def test_a_live_book_is_never_settled_on_paper(book):
    book.mode = "live"
    assert settle(book, T, CLOSES, lots(book)).fills == []


def test_a_book_with_open_orders_keeps_its_mode(cycle):
    record_intents(cycle, [Intent()])
    with pytest.raises(Rejected, match="open orders"):
        books.set_mode("desk", "replay", actor="ana", reason="")
