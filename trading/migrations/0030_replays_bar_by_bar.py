"""A replay ends by its own progress: no cycle that a worker begins leaves out a bar of it, or is behind its last."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("trading", "0029_modes_of_cycles")]
    operations = [
        for_workers(
            "pipeline_cycles_follow",
            "pipeline_cycles",
            """EXISTS (
        SELECT FROM portfolio_state b
        WHERE (b.id, b.mode) = (NEW.book_id, 'replay') AND (NEW.bar_ts > b.replay_until OR EXISTS (
            SELECT FROM market_ohlc
            WHERE symbol = ANY (b.symbols) AND timeframe = b.timeframe
                AND bar_ts >= coalesce(b.replay_from, '-infinity') AND bar_ts < NEW.bar_ts
                AND bar_ts > coalesce((SELECT max(bar_ts) FROM pipeline_cycles WHERE book_id = b.id), '-infinity')
        ))
    )""",
            "'a worker may begin the cycle that follows in a replay: % refused', NEW.bar_ts",
            events="INSERT",
        )
    ]
