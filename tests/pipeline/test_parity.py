"""One path: the live chain decides what the backtest decides, on real bars, through real workers."""

import json
import subprocess
import sys

import pytest

from tests.harness import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]


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


@pytest.mark.parametrize(
    ("symbols", "timeframe", "first", "n_bars"),
    [("AAPL,GOOG,IBM,MSFT", "1d", "20110301", 250), ("SPY", "1m", "20180321", 200)],
)
def test_the_chain_gives_the_decisions_of_the_backtest(desk, symbols, timeframe, first, n_bars):
    desk.start_workers()
    result = desk.manage_json(
        "replay",
        "--symbols",
        symbols,
        "--timeframe",
        timeframe,
        "--from",
        first,
        "--bars",
        str(n_bars),
        "--name",
        "twin",
    )
    assert result["cycles"] == {"run": n_bars, "done": n_bars}
    twin = compare(desk, "twin")
    assert twin["cycles"] == n_bars
    assert twin["n_orders"] > 0
    assert max(twin["worst"].values()) <= 1e-6, twin["worst"]
    assert twin["worst"]["equity"] == 0.0
    assert twin["orders_equal"]
    assert twin["fills_equal"]
    assert result["ledger"]["intact"]
