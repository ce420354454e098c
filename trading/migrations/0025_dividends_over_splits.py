"""A dividend behind a split is paid for each of the new shares, also in what one share became."""

import importlib

from django.db import migrations

BEFORE = importlib.import_module("trading.migrations.0023_accuracy_over_actions").FUNCTION

# Of an action, `shares` is what one share of the close at `since` is by then. A dividend on the day of a split is for
# a share of before.
_ACTIONS = """(
        SELECT kind, value, per, exp(coalesce(
            sum(ln(value / per)) FILTER (WHERE kind = 'split') OVER (ORDER BY ex_ts, kind), 0
        )) AS shares
        FROM corporate_actions c WHERE c.symbol = worth_of_share.symbol AND c.ex_ts >= since AND c.ex_ts < until
    ) a"""
_HEAD, _ = BEFORE.split("FROM corporate_actions a")
AFTER = (
    _HEAD.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace("sum(a.value)", "sum(a.value * a.shares)")
    + f"FROM {_ACTIONS}\n$$;\n"
)


class Migration(migrations.Migration):
    dependencies = [("trading", "0024_bar_corrections")]
    operations = [migrations.RunSQL(AFTER, BEFORE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))]
