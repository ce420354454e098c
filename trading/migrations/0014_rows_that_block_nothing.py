"""No row of a worker keeps a book from its next bar: the ledger goes on by one, and nothing is of a bar to come."""

from django.db import migrations

from helios.db.triggers import for_workers
from trading.models.columns import finite

# What a reader in Python can hold, and what a feed whose clock goes ahead may bring.
_OUT_OF_TIME = "NOT {} BETWEEN '0001-01-02Z' AND clock_timestamp() + interval '1 day'"
_AMOUNTS = (
    ("book", "portfolio_state", "initial_cash", "cash", "peak_equity"),
    ("position", "positions", "quantity", "cost", "realised_pnl", "fees_paid", "last_price"),
    ("portfoliosnapshot", "portfolio_snapshots", "equity", "cash", "peak_equity"),
    ("order", "orders", "quantity", "filled_quantity", "reference_price"),
    ("tradeexecution", "trade_executions", "quantity", "price", "notional", "fee"),
    ("paperorder", "paper_orders", "quantity"),
)


def _of_its_cycle(table: str, events: str) -> migrations.RunSQL:
    return for_workers(
        f"{table}_of_their_cycles",
        table,
        "NOT EXISTS (SELECT FROM pipeline_cycles "
        "WHERE (id, book_id, bar_ts) = (NEW.cycle_id, NEW.book_id, NEW.bar_ts))",
        f"'a worker may write a row of {table} for the bar of its cycle: % refused', NEW.bar_ts",
        events=events,
    )


class Migration(migrations.Migration):
    dependencies = [("trading", "0013_stages_that_ask_again")]
    operations = [
        for_workers(
            "decision_ledger_goes_on",
            "decision_ledger",
            # An entry after the last one, by either of the two unique indexes; and the next one finds its place free.
            """NOT (
        (NEW.sequence, NEW.previous_hash) = (1, repeat('0', 64)) OR EXISTS (
            SELECT FROM decision_ledger
            WHERE (book_id, sequence, hash) = (NEW.book_id, NEW.sequence - 1, NEW.previous_hash)
        )
    ) OR NEW.hash = NEW.previous_hash
    OR EXISTS (SELECT FROM decision_ledger WHERE (book_id, previous_hash) = (NEW.book_id, NEW.hash))""",
            "'a worker may add the entry that follows on the ledger of book %: % refused', NEW.book_id, NEW.sequence",
            events="INSERT",
        ),
        for_workers(
            "pipeline_cycles_of_now",
            "pipeline_cycles",
            " OR ".join(_OUT_OF_TIME.format(f"NEW.{field}") for field in ("bar_ts", "started_at", "progressed_at")),
            "'a worker may begin a cycle of a bar that is there: % and % refused', NEW.bar_ts, NEW.progressed_at",
            events="INSERT OR UPDATE OF bar_ts, started_at, progressed_at",
        ),
        for_workers(
            "market_ohlc_of_now",
            "market_ohlc",
            _OUT_OF_TIME.format("NEW.bar_ts"),
            "'a worker may write a bar that has closed: % % refused', NEW.symbol, NEW.bar_ts",
            events="INSERT OR UPDATE OF bar_ts",
        ),
        _of_its_cycle("portfolio_snapshots", "INSERT"),
        _of_its_cycle("orders", "INSERT OR UPDATE OF book_id, cycle_id, bar_ts"),
        *(migrations.AddConstraint(model, finite(table, *fields)) for model, table, *fields in _AMOUNTS),
    ]
