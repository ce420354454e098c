"""One path: the live chain decides what the backtest decides, on real bars, through real workers."""

from __future__ import annotations

import json

import pytest

from tests.support.harness import Stack

pytestmark = pytest.mark.stack

SHORT = {"days": 40, "minutes": 40, "holes": 25}  # each over a day on which GARCH is fitted again
BOOKS = {
    "days": ("AAPL,GOOG,IBM,MSFT", "1d", "20110301"),
    "minutes": ("SPY", "1m", "20180321"),
    "holes": ("AAPL,GOOG,IBM,MSFT", "1d", "20120604"),
}


def make_holes(desk: Stack, first: str, last: str) -> None:
    """Take a bar in ten from three of the four symbols, and two days from one of them; some bar of each day stays."""
    gone = desk.query(
        "DELETE FROM market_ohlc WHERE timeframe = '1d' AND bar_ts BETWEEN %s AND %s "
        "AND symbol IN ('GOOG', 'IBM', 'MSFT') AND (abs(hashtext(symbol || bar_ts::date)) %% 10 = 0 "
        "OR (symbol = 'IBM' AND bar_ts::date IN ('2012-06-20', '2012-06-21'))) RETURNING symbol",
        [first, last],
    )
    assert len({symbol for (symbol,) in gone}) == 3


def store_dividends(desk: Stack) -> None:
    """Two of each stock in the days that are replayed; splits of adjusted prices would be refused."""
    path = desk.root / "dividends.csv"
    path.write_text("date,dividend\n2011-03-15,0.9\n2011-04-05,0.3\n2012-06-18,0.7\n2012-07-03,0.2\n")
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        desk.manage("import_data", str(path), "--actions", "--symbol", symbol)


def assert_one_path(desk: Stack, bars: dict[str, int], *, timeout_s: float) -> None:
    """Replay so many bars of each book, all at once through the same workers, and compare each with its backtest."""
    make_holes(desk, "2012-06-01", "2012-09-30")
    store_dividends(desk)
    desk.environ |= {"HELIOS_FEE_BPS": "0.1", "HELIOS_SLIPPAGE_BPS": "0.1"}  # at more no minute is worth a trade
    desk.manage("flags", "whitelist", "advanced_risk_engine", "add", "AAPL", "GOOG", "IBM", "SPY")  # not MSFT
    desk.manage("flags", "enable", "advanced_risk_engine")
    desk.start_workers()
    running = {}
    for name, n_bars in bars.items():
        symbols, timeframe, first = BOOKS[name]
        wanted = ("--symbols", symbols, "--timeframe", timeframe, "--from", first, "--bars", str(n_bars))
        running[name] = desk.start_manage(name, "replay", *wanted, "--name", name, "--timeout", "540", "--json")
    for name, n_bars in bars.items():
        process = running[name]
        desk.wait_for(lambda p=process: p.poll() is not None, timeout_s=timeout_s, what=f"the replay of {name}")
        said = desk.log(name).read_text()
        assert process.returncode == 0, said
        result = json.loads(said[said.index("{") :])
        assert result["cycles"] == {"run": n_bars, "done": n_bars}
        assert result["ledger"]["intact"]
        compared = desk.run("-m", "tests.support.parity", name)
        assert compared.returncode == 0, compared.stderr
        twin = json.loads(compared.stdout.splitlines()[-1])
        assert twin["cycles"] == n_bars
        assert twin["limited"] == [symbol for symbol in BOOKS[name][0].split(",") if symbol != "MSFT"]
        assert twin["n_orders"] > 0
        assert max(twin["worst"].values()) <= 1e-6, (name, twin["worst"])
        assert twin["worst"]["equity"] == 0.0
        assert twin["orders_equal"], name
        assert twin["fills_equal"], name
    booked = desk.query("SELECT DISTINCT b.name FROM booked_actions a JOIN portfolio_state b ON b.id = a.book_id")
    assert {name for (name,) in booked} == set(bars) - {"minutes"}


def test_the_chain_gives_the_decisions_of_the_backtest(desk: Stack) -> None:
    """Days and minutes, with whole markets and with holes. `tests/soak` does the same for a year of days."""
    assert_one_path(desk, SHORT, timeout_s=400)
