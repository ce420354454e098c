import django.core.validators
from django.contrib.postgres.operations import AddConstraintNotValid
from django.core.management.base import CommandError
from django.db import migrations, models

PATTERN = "^[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$"
TABLES = {
    "instrument": "instruments",
    "marketohlc": "market_ohlc",
    "markettrade": "market_trades",
    "orderbooksnapshot": "orderbook_snapshots",
    "position": "positions",
}


def refuse_positions(apps, _schema_editor):
    """Positions are marked at every bar: one with such a symbol could never be updated again, its book never settle."""
    wrong = apps.get_model("trading", "Position").objects.exclude(symbol__regex=PATTERN).order_by("pk")
    if rows := [
        f"{symbol!r} of book {book!r} (row {pk})"
        for pk, symbol, book in wrong.values_list("pk", "symbol", "book__name")
    ]:
        raise CommandError(
            f"symbols of positions must match {PATTERN} from trading.0008 on, there are {', '.join(rows)}: rename "
            "these in positions, orders and the list of their book first"
        )


class Migration(migrations.Migration):
    """Rows from before the rule stay while nothing updates them; whatever is written from now on keeps to it."""

    dependencies = [("trading", "0007_models_below_var")]
    operations = [
        migrations.RunPython(refuse_positions, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="book",
            name="name",
            field=models.CharField(
                max_length=64,
                unique=True,
                validators=[django.core.validators.RegexValidator("^[a-z0-9][a-z0-9_.-]*\\Z")],
            ),
        ),
        *(
            AddConstraintNotValid(
                model_name=model,
                constraint=models.CheckConstraint(condition=models.Q(symbol__regex=PATTERN), name=f"{table}_symbol"),
            )
            for model, table in TABLES.items()
        ),
    ]
