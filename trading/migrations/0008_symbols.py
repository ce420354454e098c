import django.core.validators
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

PATTERN = "^[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$"
TABLES = {
    "instrument": "instruments",
    "marketohlc": "market_ohlc",
    "markettrade": "market_trades",
    "orderbooksnapshot": "orderbook_snapshots",
    "position": "positions",
}


class Migration(migrations.Migration):
    """Rows from before the rule stay as they are; every row that is written from now on keeps to it."""

    dependencies = [("trading", "0007_models_below_var")]
    operations = [
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
