"""Which bar a cycle decides on, when it may start, and where its bars come from."""

from decimal import Decimal as D

import pytest

from helios.events.models import SystemEvent
from tests.pipeline.market import make_bars
from tiers import pipeline, stages
from trading.models import MarketOHLC, Stage
from trading.services import books
from trading.services import market as market_service

pytestmark = pytest.mark.django_db
N = 120


@pytest.fixture
def bars(db):
    made = make_bars(("AAPL", "IBM"), n_bars=N, seed=3)
    for symbol in made.symbols:
        market_service.ensure_instrument(symbol, "equity")
    market_service.upsert_bars(made, source="test")
    return made


@pytest.fixture
def times(bars):
    return [stages.utc(ts) for ts in bars.ts]


def make_book(**options):
    wanted = {"mode": "replay", "timeframe": "1d", "symbols": ["AAPL", "IBM"], **options}
    return books.create_book("desk", initial_cash=D(100_000), fee_bps=D(5), slippage_bps=D(2), **wanted)


def test_bars_are_ingested_from_a_path_as_long_as_a_book_takes(bars, times, tmp_path):
    room = 255 - len(f"file:{tmp_path}/.csv")
    path = tmp_path / f"{'x' * room}.csv"
    path.write_text(f"ts,open,high,low,close,volume\n{times[-1].isoformat()},1,1,1,1,7\n")
    book = make_book(symbols=["IBM"], source=f"file:{path}")
    cycle = pipeline.start(book, times[-1], send=False)
    pipeline.run_stage(cycle.pk, Stage.INGEST)
    cycle.refresh_from_db()
    assert (cycle.status, cycle.stage) == ("RUNNING", "features")
    assert MarketOHLC.objects.get(symbol="IBM", bar_ts=times[-1]).source == book.source
    assert SystemEvent.objects.get(kind="market.corrected").source == book.source
