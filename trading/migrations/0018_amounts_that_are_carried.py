"""Amounts are numbers that money arithmetic carries, and an ended cycle does not begin anew."""

from importlib import import_module

from django.db import migrations

from helios.db.triggers import for_workers
from trading.models.columns import finite

AMOUNTS = import_module("trading.migrations.0014_rows_that_block_nothing")._AMOUNTS  # noqa: SLF001


class Migration(migrations.Migration):
    dependencies = [("trading", "0017_tail_loss")]
    operations = [
        *(migrations.RemoveConstraint(model, f"{table}_finite") for model, table, *_ in AMOUNTS),
        *(migrations.AddConstraint(model, finite(table, *fields)) for model, table, *fields in AMOUNTS),
        for_workers(
            "pipeline_cycles_end_once",
            "pipeline_cycles",
            "OLD.status <> 'RUNNING'",
            "'a worker may move a cycle that runs: % is %', OLD.id, OLD.status",
        ),
        # 0014 left them a day, for which a forged one keeps a book from its bars
        for_workers(
            "pipeline_cycles_in_time",
            "pipeline_cycles",
            """NEW.bar_ts > clock_timestamp() + interval '1 hour'
    OR greatest(NEW.started_at, NEW.progressed_at) > clock_timestamp() + interval '1 minute'""",
            "'a worker may begin a cycle of a bar that is there: % and % refused', NEW.bar_ts, NEW.progressed_at",
            events="INSERT OR UPDATE OF bar_ts, started_at, progressed_at",
        ),
        for_workers(
            "market_ohlc_in_time",
            "market_ohlc",
            "NEW.bar_ts > clock_timestamp() + interval '1 hour'",
            "'a worker may write a bar that has closed: % % refused', NEW.symbol, NEW.bar_ts",
            events="INSERT OR UPDATE OF bar_ts",
        ),
    ]
