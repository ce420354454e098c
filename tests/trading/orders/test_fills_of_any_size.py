"""The paper venue fills, and the book keeps, a coin of any price with all its digits."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from sentinel.probes import books as probed
from tests.support.orders import Intent, record_intents
from tests.trading.orders.test_outbox import NEXT, later, lots, opens
from trading.books.accounting import Fill, replay
from trading.books.read import account_of
from trading.models import Book, Instrument, Position, TradeExecution
from trading.orders import outbox
from trading.orders.fills import settle

pytestmark = pytest.mark.django_db

RISE = D("1.0437")  # from the open of the fill to its close


@pytest.mark.parametrize("price", ["100", "1e-5", "1.2e-6", "2.4e-8", "4e-9", "4.186662803811e-9"])
def test_fee_slippage_and_gain_are_the_same_parts_of_any_price(cycle, book, price):
    Instrument.objects.update(asset_class="crypto", quantity_step=D("1e-8"))
    Book.objects.update(slippage_bps=2)
    book.refresh_from_db()
    quantity = (D(8_000) / D(price)).quantize(D("1e-8"))
    record_intents(cycle, [Intent("AAPL", "BUY", quantity, D(price))])
    outbox.flush(cycle)
    opens(AAPL=float(price))
    settle(book, NEXT, {"AAPL": D(price) * RISE}, lots(book))

    fill = TradeExecution.objects.get()
    assert fill.price == D(price) * D("1.0002")
    assert fill.quantity == quantity
    assert float(fill.notional) == pytest.approx(8_001.6, rel=1e-9)
    assert float(fill.fee) == pytest.approx(8.0016, rel=1e-9)
    audited = next(one for one in probed.positions()[0] if one.symbol == "AAPL")
    assert (audited.cost, audited.fees) == (audited.cost_by_fills, audited.fees_by_fills) == (fill.notional, fill.fee)
    held, account = Position.objects.get(symbol="AAPL"), account_of(Book.objects.get())
    assert (held.quantity, held.cost, held.last_price) == (quantity, fill.notional, D(price) * RISE)
    assert float(held.average_price) == pytest.approx(float(D(price) * D("1.0002")), rel=1e-9)
    gained = account.equity({"AAPL": held.last_price}) - 10_000
    assert gained == account.holdings["AAPL"].unrealised_pnl(held.last_price) - held.fees_paid
    assert float(gained) == pytest.approx(8_000 * 1.0437 - 8_001.6 - 8.0016, rel=1e-8)


def moved(row: TradeExecution) -> Fill:
    named = ("symbol", "side", "quantity", "price", "notional", "fee", "bar_ts")
    return Fill(client_order_id="", **{name: getattr(row, name) for name in named})


def test_rows_of_purchases_a_sale_and_a_flip_hold_the_exact_cost_and_all_that_was_made(cycle, book):
    """Of prices and quantities with many digits the rows keep all that their amounts have."""
    Instrument.objects.update(asset_class="crypto", quantity_step=D("1e-8"))
    price, bought = D("4.186662803811e-9"), ["123456789012.34567891", "77777777777.77777777", "31415926535.89793238"]
    held = sum(map(D, bought))
    third = (held / 3).quantize(D("1e-8"))
    moves = [("BUY", D(each)) for each in bought] + [("SELL", third), ("SELL", held)]  # the last one is a third short
    for place, (side, quantity) in enumerate(moves):
        now = cycle if place == 0 else later(book, place)
        at, each = now.bar_ts + timedelta(days=1), price * (1 + D(place) / 7).quantize(D("1e-9"))
        record_intents(now, [Intent("AAPL", side, quantity, each, bar_ts=now.bar_ts)])
        outbox.flush(now)
        opens(at=at, AAPL=float(each))
        settle(book, at, {"AAPL": each}, lots(book))
        fills = [moved(one) for one in TradeExecution.objects.order_by("bar_ts")]
        by_fills, stored = replay(book.initial_cash, fills).holdings["AAPL"], Position.objects.get(symbol="AAPL")
        assert len(fills) == place + 1
        assert (stored.quantity, stored.cost) == (by_fills.quantity, by_fills.cost)
        account = account_of(Book.objects.get())
        made = stored.realised_pnl + account.holdings["AAPL"].unrealised_pnl(stored.last_price) - stored.fees_paid
        assert account.equity({"AAPL": stored.last_price}) - 10_000 == made
    assert stored.quantity == -third
