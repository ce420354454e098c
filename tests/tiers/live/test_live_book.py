"""The documents' way into a live market, with the stand-in that they name: its bars become cycles and orders."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from helios.stack import processes
from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack

pytestmark = pytest.mark.stack


def test_bars_of_a_venue_as_they_close_become_cycles_of_a_book_and_orders(stack: Stack) -> None:
    """`make up` runs the same processes."""
    stack.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.fast_beat"
    venue = stack.start(ProcessSpec(name="venue", argv=[sys.executable, "-m", "tests.support.venues"]))
    told = stack.log("venue")
    stack.wait_for(lambda: told.exists() and "\n" in told.read_text(), what="the line for .env")
    name, _, url = told.read_text().strip().partition("=")
    stack.environ[name] = url
    stack.manage("download_data", "--pairs", "BTC-ZAR")
    market = ("--symbols", "VALR:BTC-ZAR", "--timeframe", "1m")
    stack.manage("train", *market)
    stack.manage("paper_book", "coins", *market, "--strategy", "buy_and_hold")
    stack.manage("flags", "enable", "auto_trading", "--reason", "paper money")
    began = datetime.now(UTC)
    stack.start_worker()
    stack.start(processes.stream())
    stack.start(processes.beat())
    cycles = (
        "SELECT b.source FROM pipeline_cycles c JOIN market_ohlc b USING (timeframe, bar_ts) "
        "WHERE bar_ts > %s AND status = 'DONE'"
    )
    stack.wait_for(lambda: stack.query(cycles, [began]), what="a cycle of a minute that ended meanwhile")
    assert venue.poll() is None
    assert all(source.startswith("valr") for (source,) in stack.query(cycles, [began]))
    orders = stack.query(
        "SELECT o.side, o.reference_price = b.close::numeric FROM orders o JOIN market_ohlc b USING (symbol, bar_ts) "
        "WHERE b.timeframe = '1m'"
    )
    assert {*orders} == {("BUY", True)}
