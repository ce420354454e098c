"""One path: the live chain decides what the backtest decides, on real bars, through real workers."""

import json
import subprocess
import sys

import pytest

from tests.harness import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(580)]


def compare(desk, book):
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.parity", book],
        cwd=ROOT,
        env=desk.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def start(desk, name, symbols, timeframe, first, n_bars):
    return desk.start_manage(
        name,
        *("replay", "--symbols", symbols, "--timeframe", timeframe, "--from", first),
        *("--bars", str(n_bars), "--name", name, "--json"),
    )


def make_holes(desk, first, last):
    """Take a bar in ten from three of the four symbols, and two days from one of them; some bar of each day stays."""
    gone = desk.query(
        "DELETE FROM market_ohlc WHERE timeframe = '1d' AND bar_ts BETWEEN %s AND %s "
        "AND symbol IN ('GOOG', 'IBM', 'MSFT') AND (abs(hashtext(symbol || bar_ts::date)) %% 10 = 0 "
        "OR (symbol = 'IBM' AND bar_ts::date IN ('2012-06-20', '2012-06-21'))) RETURNING symbol",
        [first, last],
    )
    assert len({symbol for (symbol,) in gone}) == 3


def test_the_chain_gives_the_decisions_of_the_backtest(desk):
    """Days and minutes, with whole markets and with holes: three books at once through the same workers."""
    make_holes(desk, "2012-06-01", "2012-09-30")
    desk.start_workers()
    books = {
        "days": ("AAPL,GOOG,IBM,MSFT", "1d", "20110301", 250),
        "minutes": ("SPY", "1m", "20180321", 200),
        "holes": ("AAPL,GOOG,IBM,MSFT", "1d", "20120604", 60),
    }
    running = {name: start(desk, name, *wanted) for name, wanted in books.items()}
    for name, (_, _, _, n_bars) in books.items():
        process = running[name]
        desk.wait_for(lambda process=process: process.poll() is not None, timeout_s=400, what=f"the replay of {name}")
        said = desk.log(name).read_text()
        assert process.returncode == 0, said
        result = json.loads(said[said.index("{") :])
        assert result["cycles"] == {"run": n_bars, "done": n_bars}
        assert result["ledger"]["intact"]
        twin = compare(desk, name)
        assert twin["cycles"] == n_bars
        assert twin["n_orders"] > 0
        assert max(twin["worst"].values()) <= 1e-6, (name, twin["worst"])
        assert twin["worst"]["equity"] == 0.0
        assert twin["orders_equal"], name
        assert twin["fills_equal"], name
