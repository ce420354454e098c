"""Replays through the workers of a desk, and what they decided."""

from __future__ import annotations

STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")


def words(name, n_bars):
    return ("replay", "--from", "20120601", "--bars", str(n_bars), "--name", name, "--timeout", "540", "--json")


def replay(desk, name, n_bars):
    """Start a replay beside the test, on a new book."""
    return desk.start_manage(name, *words(name, n_bars))


def finish(desk, process, name):
    desk.wait_for(lambda: process.poll() is not None, what="the end of the replay")
    assert process.returncode == 0, desk.log(name).read_text()


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


def calm(desk, n_bars):
    """The book of an undisturbed replay of so many bars; it is made once a desk."""
    name = f"calm-{n_bars}"
    if done(desk, name) < n_bars:
        desk.manage(*words(name, n_bars))
    return name


def assert_like_an_undisturbed_run(desk, book, n_bars):
    """The disturbed book equals one that nothing happened to, and every stage ran once in every cycle."""
    twin = calm(desk, n_bars)
    assert decisions(desk, book) == decisions(desk, twin)
    assert decisions(desk, twin)["orders"]
    assert done(desk, book) == n_bars
    runs = desk.query(
        "SELECT r.cycle_id, count(*) FROM pipeline_stage_runs r JOIN pipeline_cycles c ON c.id = r.cycle_id "
        "JOIN portfolio_state b ON b.id = c.book_id WHERE b.name IN (%s, %s) GROUP BY 1",
        [book, twin],
    )
    assert {count for _, count in runs} == {len(STAGES)}
