from django.db import migrations, models
from django.db.models import Func, Value

PATTERN = r"^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$"
TABLES = {
    "instrument": "instruments",
    "marketohlc": "market_ohlc",
    "markettrade": "market_trades",
    "orderbooksnapshot": "orderbook_snapshots",
    "position": "positions",
}
FORWARD = """
ALTER TABLE market_trades DROP COLUMN venue, ADD PRIMARY KEY (symbol, ts, trade_id);
ALTER TABLE orderbook_snapshots DROP COLUMN venue, ADD PRIMARY KEY (symbol, ts);
"""


def key(*columns):
    return models.CompositePrimaryKey(*columns, blank=True, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    """A symbol may carry its venue; trades and order books hang on the instrument as bars do."""

    dependencies = [("trading", "0012_hold_what_was_not_active")]
    operations = [
        *(migrations.RemoveConstraint(model_name=model, name=f"{table}_symbol") for model, table in TABLES.items()),
        *(
            migrations.AddConstraint(
                model_name=model,
                constraint=models.CheckConstraint(condition=models.Q(symbol__regex=PATTERN), name=f"{table}_symbol"),
            )
            for model, table in TABLES.items()
        ),
        migrations.AddField(
            model_name="instrument",
            name="venue",
            field=models.GeneratedField(
                db_persist=True,
                expression=Func("symbol", Value("^[^:]*$|:.*"), Value(""), function="regexp_replace"),
                help_text="where it is traded; empty where nobody said",
                output_field=models.CharField(max_length=32),
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD)],
            state_operations=[
                migrations.AlterField("markettrade", "pk", key("symbol", "ts", "trade_id")),
                migrations.AlterField("orderbooksnapshot", "pk", key("symbol", "ts")),
                migrations.RemoveField("markettrade", "venue"),
                migrations.RemoveField("orderbooksnapshot", "venue"),
            ],
        ),
    ]
