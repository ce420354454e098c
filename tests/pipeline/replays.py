"""Replays through the workers of a stack, and what they decided."""

from __future__ import annotations

STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")


def replay(desk, name, n_bars):
    return desk.start_manage(
        name,
        "replay",
        "--from",
        "20120601",
        "--bars",
        str(n_bars),
        "--name",
        name,
        "--timeout",
        "120",
        "--json",
    )


def done(desk, book):
    return desk.value(
        "SELECT count(*) FROM pipeline_cycles c JOIN portfolio_state b ON b.id = c.book_id "
        "WHERE b.name = %s AND c.status = 'DONE'",
        [book],
    )


def decisions(desk, book):
    """Orders and fills of a book without the identifiers that differ between books."""
    orders = desk.query(
        "SELECT o.bar_ts, o.symbol, o.side, o.quantity, o.status FROM orders o "
        "JOIN portfolio_state b ON b.id = o.book_id WHERE b.name = %s ORDER BY 1, 2, 3",
        [book],
    )
    fills = desk.query(
        "SELECT e.bar_ts, e.symbol, e.side, e.quantity, e.price, e.fee FROM trade_executions e "
        "JOIN portfolio_state b ON b.id = e.book_id WHERE b.name = %s ORDER BY 1, 2, 3",
        [book],
    )
    cash = desk.value("SELECT cash FROM portfolio_state WHERE name = %s", [book])
    return {"orders": orders, "fills": fills, "cash": cash}


def assert_like_an_undisturbed_run(desk, n_bars):
    """The disturbed book equals one that nothing happened to, and every stage ran once in every cycle."""
    desk.manage_json("replay", "--from", "20120601", "--bars", str(n_bars), "--name", "calm", "--timeout", "120")
    assert decisions(desk, "disturbed") == decisions(desk, "calm")
    assert decisions(desk, "calm")["orders"]
    assert done(desk, "disturbed") == n_bars
    runs = desk.query("SELECT cycle_id, count(*) FROM pipeline_stage_runs GROUP BY 1")
    assert {count for _, count in runs} == {len(STAGES)}


def finish(desk, process, name):
    desk.wait_for(lambda: process.poll() is not None, timeout_s=240, what="the end of the replay")
    assert process.returncode == 0, desk.log(name).read_text()
