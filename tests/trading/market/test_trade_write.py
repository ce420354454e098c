"""Public trades on their way into the table: each once, whichever way it comes, and with or without an id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError

from trading.market import trade_write
from trading.market.timestamps import microseconds
from trading.market.trade_write import TradeRow, store_trades
from trading.models import MarketTrade

pytestmark = pytest.mark.django_db
T = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
US = microseconds(T)


def row(trade_id: str = "", *, price: float = 10.0, side: str = "BUY", symbol: str = "X", later_s: int = 0) -> TradeRow:
    return symbol, US + later_s * 1_000_000, trade_id, side, price, 0.5


def stored() -> list[str]:
    return sorted(MarketTrade.objects.values_list("trade_id", flat=True))


def test_trades_lie_in_the_partition_of_their_month_with_all_their_digits() -> None:
    assert store_trades([row("a", price=1e-9), row("b", side="", later_s=1), row("a", symbol="Y")]) == 3
    found = MarketTrade.objects.filter(symbol="X").order_by("ts").values_list("ts", "trade_id", "side", "price")
    assert list(found) == [(T, "a", "BUY", Decimal("1e-9")), (T + timedelta(seconds=1), "b", "", Decimal(10))]
    assert store_trades([]) == 0


def test_a_trade_with_an_id_is_stored_once_and_others_like_it_beside_it() -> None:
    assert store_trades([row("a"), row("b")]) == 2
    assert store_trades([row("a"), row("c"), row("c")]) == 1
    assert stored() == ["a", "b", "c"]


def test_trades_without_an_id_of_which_none_is_kept_get_the_same_names_by_the_shorter_way() -> None:
    rows = [row(symbol=symbol, later_s=n // 3, price=n % 2) for n in range(20) for symbol in "XY"]
    assert trade_write._numbered(rows) == trade_write._fresh(rows, [])


def test_trades_without_an_id_are_as_many_as_were_told_alike() -> None:
    assert store_trades([row(), row(), row(price=11.0)]) == 3
    assert store_trades([row(), row(), row(), row(price=11.0), row(side="SELL")]) == 2
    assert stored() == [f"{US}-{number}" for number in range(5)]
    assert store_trades([row()]) == 0


def test_a_trade_that_was_stored_without_its_id_is_not_stored_again_with_it_nor_the_other_way_round() -> None:
    store_trades([row()])
    assert store_trades([row("a"), row("a")]) == 0
    assert store_trades([row("a"), row("b")]) == 1
    assert store_trades([row("a"), row("b")]) == 0
    assert store_trades([row(), row()]) == 0
    assert store_trades([row(), row(), row()]) == 1


def test_an_id_of_a_venue_that_looks_like_a_made_one_is_none() -> None:
    other = f"{US - 1}-3"
    assert store_trades([row(other), row(f"{US}-abc")]) == 2
    assert store_trades([row("a")]) == 1
    named = [row(f"{US}-0"), row(f"{US}-2")]
    assert store_trades([row(price=1.0), *named, row(price=2.0), row(price=3.0)]) == 5
    assert store_trades([row(price=1.0), *named]) == 0


@pytest.mark.parametrize("bad", [row("a", price=0.0), row("a", price=-1.0), row("a", side="HOLD"), row("a", symbol="")])
def test_what_is_no_trade_is_refused_by_the_table(bad: TradeRow) -> None:
    with pytest.raises(IntegrityError):
        store_trades([row("b"), bad])
