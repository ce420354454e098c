from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.models.functions import Length

BEFORE = 64


def refuse_long_sources(apps, _schema_editor):
    bars = apps.get_model("trading", "MarketOHLC").objects
    long = bars.annotate(letters=Length("source")).filter(letters__gt=BEFORE).order_by("source")
    if names := list(long.values_list("source", flat=True).distinct()[:3]):
        raise CommandError(
            f"sources of bars must have at most {BEFORE} letters to migrate back before trading.0005, there are "
            f"bars from {', '.join(names)}: shorten market_ohlc.source of these first"
        )


class Migration(migrations.Migration):
    dependencies = [("trading", "0004_delivery")]
    operations = [
        migrations.AlterField(
            model_name="marketohlc",
            name="source",
            field=models.CharField(max_length=255),
        ),
        migrations.RunPython(migrations.RunPython.noop, refuse_long_sources),
    ]
