"""A public trade of which the venue does not tell who took the offer has an empty side."""

from django.db import migrations, models

NAME = "market_trades_side"


class Migration(migrations.Migration):
    dependencies = [("trading", "0025_dividends_over_splits")]
    operations = [
        migrations.RemoveConstraint(model_name="markettrade", name=NAME),
        migrations.AddConstraint(
            model_name="markettrade",
            constraint=models.CheckConstraint(condition=models.Q(("side__in", ["BUY", "SELL", ""])), name=NAME),
        ),
        migrations.AlterField(
            model_name="markettrade",
            name="side",
            field=models.CharField(
                blank=True, help_text="of who took the offer; empty where the venue does not tell it", max_length=4
            ),
        ),
    ]
