from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import Error

from tests.support.commands import printed
from tests.support.market_bars import at, changed, make_bars
from trading.market.write import UpsertResult, upsert_bars
from trading.models import BarCorrection, MarketOHLC

pytestmark = pytest.mark.django_db


def test_each_correction_of_a_bar_leaves_what_it_replaced():
    bars = make_bars(50, "A")
    upsert_bars(bars, "file")
    upsert_bars(changed(bars, 7, volume=1.0), "venue")
    upsert_bars(changed(bars, 7, volume=2.0), "repair")
    first, second = BarCorrection.objects.order_by("revision")
    prices = {name: getattr(bars, name)[7, 0] for name in ("open", "high", "low", "close")}
    for kept, volume, source in ((first, bars.volume[7, 0], "file"), (second, 1.0, "venue")):
        assert (kept.symbol, kept.timeframe, kept.bar_ts) == ("A", "1m", at("2024-03-01T00:08"))
        assert {name: getattr(kept, name) for name in prices} == prices
        assert (kept.volume, kept.source) == (volume, source)
    assert (first.revision, second.revision) == (0, 1)
    assert first.replaced_at <= second.replaced_at


def test_a_bar_that_is_corrected_twice_in_one_call_leaves_both():
    bars = make_bars(5, "A")
    upsert_bars([bars, changed(bars, 2, volume=1.0), changed(bars, 2, volume=2.0)], "x")
    kept = BarCorrection.objects.order_by("revision").values_list("volume", flat=True)
    assert list(kept) == [bars.volume[2, 0], 1.0]


def test_a_bar_of_the_highest_revision_is_corrected_all_the_same():
    bars = make_bars(5, "A")
    upsert_bars(bars, "x")
    MarketOHLC.objects.update(revision=2**31 - 1)  # any worker may
    assert upsert_bars(changed(bars, 2, volume=1.0), "y").corrected == 1


def test_equal_and_new_bars_leave_nothing():
    bars = make_bars(50, "A", "B")
    upsert_bars(bars.rows(slice(0, 20)), "first")
    assert upsert_bars(bars, "second") == UpsertResult(inserted=60, unchanged=40)
    assert not BarCorrection.objects.exists()


def test_a_refused_import_leaves_nothing():
    bars = make_bars(20, "A")
    upsert_bars(bars, "x")
    with pytest.raises(IntegrityError, match="market_ohlc_price_order"), transaction.atomic():
        upsert_bars([changed(bars, 3, volume=1.0), changed(bars, 15, high=1.0)], "x")
    assert not BarCorrection.objects.exists()


@pytest.mark.parametrize("change", [lambda rows: rows.update(close=1), lambda rows: rows.delete()])
def test_what_was_replaced_stays(change):
    bars = make_bars(5, "A")
    upsert_bars([bars, changed(bars, 2, volume=1.0)], "x")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")
    with pytest.raises(Error, match="bar_corrections is append-only"), transaction.atomic():
        change(BarCorrection.objects.all())


def test_the_list_says_where_to_look():
    bars = make_bars(5, "A")
    upsert_bars([bars, changed(bars, 2, volume=1.0)], "x")
    assert "5 bars, 1 corrected (the admin shows what that replaced), " in printed("list_data")
