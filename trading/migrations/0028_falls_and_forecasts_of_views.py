"""The views count a fall from the highest equity there was, and a forecast of bars that its model had not seen once."""

import importlib

from django.db import migrations

BEFORE = importlib.import_module("trading.migrations.0003_views")
ACCURACY = importlib.import_module("trading.migrations.0023_accuracy_over_actions")
REPLACED = ("CREATE VIEW", "CREATE OR REPLACE VIEW")

_FALLS = """SELECT max(drawdown) AS max_drawdown, count(*) AS n_snapshots
              FROM portfolio_snapshots x WHERE x.book_id = b.id"""
# The drawdown of a snapshot is that of the book's limits, which counts anew from where somebody resumed the book.
_FROM_THE_HIGHEST = """SELECT least(max(1 - x.equity / x.highest), 1)::float8 AS max_drawdown, count(*) AS n_snapshots
              FROM (SELECT equity, greatest(b.initial_cash, max(equity) OVER (ORDER BY bar_ts)) AS highest
                    FROM portfolio_snapshots WHERE book_id = b.id) x"""
PERFORMANCE = BEFORE.PORTFOLIO_PERFORMANCE.replace(*REPLACED)

_EACH = "FROM ml_predictions p\nLEFT JOIN ml_models m ON m.id = p.model_id"
_ONCE = """FROM (
    SELECT DISTINCT ON (model_id, symbol, timeframe, bar_ts) * FROM ml_predictions
    WHERE p_buy IS NOT NULL ORDER BY model_id, symbol, timeframe, bar_ts, id
) p
LEFT JOIN ml_models m ON m.id = p.model_id"""
_WHERE = "WHERE p.p_buy IS NOT NULL"
_UNSEEN = "WHERE m.id IS NULL OR p.bar_ts > m.trained_to"


class Migration(migrations.Migration):
    dependencies = [("trading", "0027_late_bars_by_index")]
    operations = [
        migrations.RunSQL(PERFORMANCE.replace(_FALLS, _FROM_THE_HIGHEST), PERFORMANCE),
        migrations.RunSQL(ACCURACY.AFTER.replace(_EACH, _ONCE).replace(_WHERE, _UNSEEN), ACCURACY.AFTER),
    ]
