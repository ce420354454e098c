from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal as D

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction

from helios.events.models import SystemEvent
from tests.support.market_bars import FIELDS, at, changed, make_bars, same
from tiers.contracts import Bars
from tiers.contracts.errors import DataError
from trading.market import instruments
from trading.market import inventory as stored_series
from trading.market import read as selectors
from trading.market import write as market
from trading.market.lots import usual_lot
from trading.market.write import Series, UpsertResult
from trading.models import Instrument, MarketOHLC

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("stored_before", [False, True])
def test_what_is_stored_comes_back_to_the_last_bit(stored_before):
    """Into an empty span as among bars that are there; nothing makes a temporary table, which no worker may."""
    bars = make_bars(300, "A", "BTC/USD", holes=0.2)
    existing = np.count_nonzero(~np.isnan(bars.close))
    if stored_before:
        last = bars.rows(slice(299, 300))
        market.upsert_bars(changed(last, 0, volume=1.0), "test")
        n_there = np.count_nonzero(~np.isnan(last.close))
        result = UpsertResult(inserted=existing - n_there, corrected=n_there)
    else:
        result = UpsertResult(inserted=existing)
    assert market.upsert_bars(bars, "test") == result
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")
        assert cursor.fetchone() == (0,)
    known = ~np.isnan(bars.close).all(axis=1)  # a time at which no symbol has a bar is not on the union timeline
    fields = {name: getattr(bars, name)[known] for name in ("ts", *FIELDS)}
    same(selectors.bar_range(("A", "BTC/USD"), "1m"), Bars(timeframe="1m", symbols=bars.symbols, **fields))
    row = MarketOHLC.objects.filter(symbol="A").order_by("bar_ts").first()
    assert (row.source, row.revision, row.timeframe) == ("test", 0, "1m")


def test_equal_bars_are_left_alone():
    bars = make_bars(50, "A")
    market.upsert_bars(bars, "first")
    before = list(MarketOHLC.objects.order_by("bar_ts").values())
    assert market.upsert_bars(bars, "second") == UpsertResult(unchanged=50)
    assert list(MarketOHLC.objects.order_by("bar_ts").values()) == before
    assert not SystemEvent.objects.filter(kind="market.corrected").exists()


def test_a_late_correction_raises_the_revision_and_is_told():
    bars = make_bars(50, "A")
    market.upsert_bars(bars, "first")
    corrected = changed(bars, 7, volume=1.0)
    assert market.upsert_bars(corrected, "venue") == UpsertResult(corrected=1, unchanged=49)
    row = MarketOHLC.objects.get(revision__gt=0)
    assert (row.bar_ts, row.volume, row.source, row.revision) == (at("2024-03-01T00:08"), 1.0, "venue", 1)
    event = SystemEvent.objects.get(kind="market.corrected")
    assert (event.source, event.subject, event.data) == ("venue", "A", {"corrected": 1, "timeframes": ["1m"]})
    assert market.upsert_bars(bars, "venue") == UpsertResult(corrected=1, unchanged=49)
    assert MarketOHLC.objects.get(revision__gt=0).revision == 2


def test_old_and_new_bars_may_come_together():
    bars = make_bars(60, "A")
    market.upsert_bars(bars.rows(slice(0, 40)), "x")
    result = market.upsert_bars(changed(bars, 3, volume=2.0), "x")
    assert result == UpsertResult(inserted=20, corrected=1, unchanged=39)


def test_a_gap_between_stored_bars_can_be_filled():
    bars = make_bars(30, "A")
    market.upsert_bars([bars.rows(slice(0, 10)), bars.rows(slice(20, 30))], "x")
    assert market.upsert_bars(bars.rows(slice(10, 20)), "x") == UpsertResult(inserted=10)
    same(selectors.bar_range(["A"], "1m"), bars)


def test_partitions_are_made_for_every_year_that_the_bars_touch():
    bars = make_bars(3 * 366, "A", timeframe="1d", first="2021-01-01T00:00")
    assert market.upsert_bars(bars, "x").inserted == 3 * 366
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'market_ohlc'::regclass")
        partitions = {name for (name,) in cursor.fetchall()}
    assert {"market_ohlc_y2021", "market_ohlc_y2022", "market_ohlc_y2023", "market_ohlc_y2024"} <= partitions


def test_large_loads_go_in_chunks_and_tell_their_progress(monkeypatch):
    monkeypatch.setattr(market, "CHUNK_BARS", 100)
    told: list[int] = []
    bars = make_bars(240, "A", "B", holes=0.5, seed=5)
    result = market.upsert_bars(bars, "x", progress=told.append)
    assert len(told) == 5
    assert sum(told) == result.inserted == np.count_nonzero(~np.isnan(bars.close))


def test_nothing_to_store_is_stored_quickly():
    assert market.upsert_bars([], "x") == UpsertResult()
    assert market.upsert_bars(make_bars(0, "A"), "x") == UpsertResult()
    hollow = make_bars(4, "A", holes=1.0)
    assert market.upsert_bars(hollow, "x") == UpsertResult()


@pytest.mark.parametrize("name", ["open", "high", "low", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_before_anything_is_stored(name: str, value: float):
    broken = changed(make_bars(5, "A"), 2, **{name: value})
    with pytest.raises(DataError, match=f"{name} of A at 2024-03-01 00:03 UTC must be finite, was {value}"):
        market.upsert_bars([make_bars(5, "B"), broken], "x")
    assert not MarketOHLC.objects.exists()


def test_the_database_itself_refuses_a_broken_bar_and_nothing_is_half_written():
    bars = make_bars(20, "A")
    broken = changed(bars, 15, high=1.0)
    with pytest.raises(IntegrityError, match="market_ohlc_price_order"), transaction.atomic():
        market.upsert_bars([make_bars(20, "B"), broken], "x")
    assert not MarketOHLC.objects.exists()


def test_instruments_get_the_usual_lots_of_their_asset_class():
    stock, coin = instruments.ensure_instrument("SPY", "equity"), instruments.ensure_instrument("BTC/USD", "crypto")
    assert (str(stock.quantity_step), str(stock.price_tick), stock.calendar) == ("1", "0.01", "XNYS")
    assert (coin.quantity_step, coin.calendar) == (D("1e-8"), "24/7")
    assert instruments.ensure_instrument("SPY", "equity").pk == stock.pk
    assert Instrument.objects.count() == 2


@pytest.mark.parametrize(
    ("kind", "price", "step", "tick"),
    [
        ("equity", "512.3", "1", "0.01"),
        ("equity", "0.0987", "1", "0.0001"),
        ("crypto", "69123.07", "1e-8", "0.01"),
        ("crypto", "100", "1e-8", "0.01"),
        ("crypto", "1e-5", "0.1", "1e-9"),
        ("crypto", "1.2e-6", "0.1", "1e-10"),
        ("crypto", "2.4e-8", "10", "1e-12"),
        ("crypto", "4e-9", "100", "1e-13"),
    ],
)
def test_the_usual_steps_follow_from_the_price(kind, price, step, tick):
    lot = usual_lot(kind, float(price))
    assert (lot.quantity_step, lot.price_tick) == (D(step), D(tick))


@pytest.mark.parametrize(("symbol", "least"), [("ETH/BTC", "0.0001"), ("ETH-USDT", "5"), ("VALR:BTC-ZAR", "5")])
def test_the_least_notional_is_one_of_the_quote_currency(symbol, least):
    assert instruments.ensure_instrument(symbol, "crypto", 0.05).min_notional == D(least)


def test_an_instrument_that_was_described_by_hand_is_kept():
    Instrument.objects.create(symbol="X", asset_class="crypto", quantity_step="0.5", price_tick="1")
    assert instruments.ensure_instrument("X", "crypto").quantity_step == Instrument.objects.get().quantity_step
    with pytest.raises(DataError, match="X is of asset class crypto, not equity"):
        instruments.ensure_instrument("X", "equity")
    with pytest.raises(DataError, match="asset class must be one of crypto, equity, was 'fx'"):
        instruments.ensure_instrument("X", "fx")


def test_an_import_stores_all_its_series_or_none():
    good = Series(
        symbol="A",
        asset_class="equity",
        source="x",
        batches=(make_bars(5, "A"), make_bars(2, "A", timeframe="5m")),
    )
    result = market.import_series([good])
    assert result == {("A", "1m"): UpsertResult(inserted=5), ("A", "5m"): UpsertResult(inserted=2)}
    bad = Series(symbol="C", asset_class="fx", source="x", batches=(make_bars(5, "C"),))
    fresh = Series(symbol="B", asset_class="equity", source="x", batches=(make_bars(5, "B"),))
    with pytest.raises(DataError, match="asset class"):
        market.import_series([fresh, bad])
    assert stored_series.known_symbols("1m") == ("A",)
    assert not Instrument.objects.filter(symbol="B").exists()


def test_a_window_holds_the_last_own_bars_of_each_symbol():
    bars = make_bars(400, "A", "B", holes=0.5, seed=2)
    market.upsert_bars(bars, "x")
    end = at("2024-03-01T05:00")
    got = selectors.bar_window(["B", "A"], "1m", end, 50)
    until = np.searchsorted(bars.ts, np.datetime64("2024-03-01T05:00", "us"), "right")
    for column, source in ((0, 1), (1, 0)):
        own = np.flatnonzero(~np.isnan(bars.close[:until, source]))[-50:]
        mine = ~np.isnan(got.close[:, column])
        np.testing.assert_array_equal(got.ts[mine], bars.ts[own])
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(got, name)[mine, column], getattr(bars, name)[own, source])
    assert np.all(np.diff(got.ts) > np.timedelta64(0, "us"))


def test_a_window_crosses_the_turn_of_the_year_and_the_change_of_partitions():
    bars = make_bars(900, "A", timeframe="1d", first="2021-01-01T21:00")
    market.upsert_bars(bars, "x")
    same(selectors.bar_window(["A"], "1d", at("2030-01-01"), 700), bars.rows(slice(200, 900)))


def test_a_window_shows_nothing_later_than_its_end():
    bars = make_bars(100, "A")
    market.upsert_bars(bars, "x")
    before = selectors.bar_window(["A"], "1m", at("2024-03-01T01:00"), 30)
    market.upsert_bars(make_bars(100, "A", first="2024-03-01T01:01", seed=9), "venue")
    same(selectors.bar_window(["A"], "1m", at("2024-03-01T01:00"), 30), before)


def test_a_symbol_that_trades_later_is_a_column_of_nan():
    market.upsert_bars([make_bars(10, "A"), make_bars(10, "B", first="2024-03-02T00:01")], "x")
    got = selectors.bar_window(["A", "B"], "1m", at("2024-03-01T12:00"), 5)
    assert np.isnan(got.close[:, 1]).all()
    assert got.n_bars == 5


def test_an_unknown_symbol_is_refused_with_what_there_is():
    market.upsert_bars([make_bars(5, "A"), make_bars(5, "B"), make_bars(5, "D", timeframe="1d")], "x")
    sentence = "no 1m bars of D, Z are stored; stored are A, B"
    for call in (
        lambda: selectors.bar_range(["A", "Z", "D"], "1m"),
        lambda: selectors.bar_window(["D", "A", "Z"], "1m", at("2024-03-02"), 5),
        lambda: selectors.bar_window(["Z", "D"], "1m", at("2024-03-02"), 5, at_least_one=False),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value) == sentence


def test_an_empty_database_says_how_to_fill_it():
    with pytest.raises(DataError, match="no 1d bars of SPY are stored; stored are none; `import_data` loads some"):
        selectors.bar_range(["SPY"], "1d")


def test_a_span_without_bars_is_refused_unless_it_may_be_empty():
    market.upsert_bars(make_bars(5, "A"), "x")
    early = (at("2020-01-01"), at("2020-12-31"))
    with pytest.raises(DataError) as caught:
        selectors.bar_range(["A"], "1m", *early)
    assert str(caught.value) == (
        "no 1m bars of A from 2020-01-01 00:00 UTC until 2020-12-31 00:00 UTC; "
        "stored are A 2024-03-01 00:01 .. 2024-03-01 00:05 UTC"
    )
    assert selectors.bar_range(["A"], "1m", *early, at_least_one=False).n_bars == 0
    assert selectors.bar_window(["A"], "1m", early[1], 3, at_least_one=False).symbols == ("A",)


def test_bounds_of_a_range_are_inclusive():
    bars = make_bars(10, "A")
    market.upsert_bars(bars, "x")
    got = selectors.bar_range(["A"], "1m", at("2024-03-01T00:03"), at("2024-03-01T00:06"))
    same(got, bars.rows(slice(2, 6)))


@pytest.mark.parametrize(("symbols", "told"), [([], "none"), (["A", "A"], "A, A")])
def test_symbols_must_be_named_once_each(symbols: list[str], told: str):
    with pytest.raises(DataError, match=f"symbols must be at least one and each only once, were {told}"):
        selectors.bar_range(symbols, "1m")


def test_odd_requests_are_refused():
    with pytest.raises(DataError, match="n_bars must be at least 1, was 0"):
        selectors.bar_window(["A"], "1m", at("2024-01-01"), 0)
    with pytest.raises(DataError, match="timeframe must be one of"):
        selectors.bar_range(["A"], "2m")


def test_signs_that_sql_and_paths_know_are_only_text():
    odd, text = "$A/B--#&*~", "100 % real'; DROP TABLE x; --%s"
    bars = make_bars(3, odd)
    market.upsert_bars(changed(bars, 1, volume=3.0), text)
    assert market.upsert_bars(bars, text) == UpsertResult(corrected=1, unchanged=2)
    same(selectors.bar_range([odd], "1m"), bars)
    assert stored_series.inventory()[0].sources == (text,)
    with pytest.raises(DataError, match="no 1m bars of A'; DROP"):
        selectors.bar_range(["A'; DROP TABLE x; --%s"], "1m")


def test_the_next_bar_is_the_earliest_of_any_symbol():
    market.upsert_bars([make_bars(3, "A"), make_bars(3, "B", first="2024-03-01T00:10")], "x")
    after = at("2024-03-01T00:03")
    assert selectors.next_bar_ts(["A", "B"], "1m", after) == at("2024-03-01T00:10")
    assert selectors.next_bar_ts(["A"], "1m", after - timedelta(seconds=1)) == after
    assert selectors.next_bar_ts(["A"], "1m", after) is None
    assert selectors.next_bar_ts(["A"], "5m", at("2000-01-01")) is None


def test_the_inventory_counts_series_sources_and_corrections():
    bars = make_bars(20, "B")
    market.upsert_bars(bars.rows(slice(0, 10)), "first")
    market.upsert_bars(changed(bars, 2, volume=3.0), "second")
    market.upsert_bars([make_bars(4, "A", timeframe="1d"), make_bars(4, "A", timeframe="5m")], "x")
    stored = stored_series.inventory()
    assert [(one.symbol, one.timeframe, one.rows) for one in stored] == [
        ("A", "5m", 4),
        ("A", "1d", 4),
        ("B", "1m", 20),
    ]
    assert (stored[2].sources, stored[2].corrected) == (("first", "second"), 1)
    assert (stored[2].first, stored[2].last) == (at("2024-03-01T00:01"), at("2024-03-01T00:20"))


def test_known_symbols_are_asked_by_timeframe():
    assert stored_series.known_symbols("1m") == ()
    market.upsert_bars([make_bars(2, "C"), make_bars(2, "A", timeframe="1d"), make_bars(2, "B")], "x")
    assert stored_series.known_symbols("1d") == ("A",)
    assert stored_series.known_symbols("1m") == ("B", "C")


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_bars_wait_for_each_other_and_agree():
    """Four writers store overlapping spans of three symbols: nothing is lost, doubled or deadlocked."""
    whole = make_bars(400, "A", "B", "C", first="2023-12-31T22:00")
    start = threading.Barrier(4)

    def write(number: int) -> UpsertResult:
        try:
            start.wait(30)
            part = whole.rows(slice(number * 50, number * 50 + 250))
            turned = (part, part) if number % 2 else (part,)
            return market.upsert_bars(turned, f"writer {number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(write, range(4)))
    assert sum(result.inserted for result in results) == 400 * 3
    assert sum(result.corrected for result in results) == 0
    same(selectors.bar_range(("A", "B", "C"), "1m"), whole)
    assert set(MarketOHLC.objects.values_list("revision", flat=True)) == {0}
