"""The paper venue fills, and the book keeps, a coin of any price with all its digits."""

from decimal import Decimal as D

import pytest

from sentinel.probes import books as probed
from tests.support.orders import Intent, record_intents
from tests.trading.orders.test_outbox import NEXT, lots, opens
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
