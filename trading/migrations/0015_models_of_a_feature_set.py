"""A model says which version of its features it was trained on; a volatility may come of any method."""

from django.db import migrations, models
from django.db.models import Q

FIELDS = ["timeframe", "feature_set", "feature_version"]


class Migration(migrations.Migration):
    dependencies = [("trading", "0014_feeds")]

    operations = [
        migrations.RemoveConstraint("mlmodel", "ml_models_one_champion_per_timeframe"),
        migrations.RemoveConstraint("mlmodel", "ml_models_one_challenger_per_timeframe"),
        migrations.AddField(
            "mlmodel",
            "feature_version",
            models.CharField(default="1.0.0", help_text="of the set that it was trained on", max_length=32),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            "mlmodel",
            models.UniqueConstraint(condition=Q(role="champion"), fields=FIELDS, name="ml_models_one_champion"),
        ),
        migrations.AddConstraint(
            "mlmodel",
            models.UniqueConstraint(condition=Q(role="challenger"), fields=FIELDS, name="ml_models_one_challenger"),
        ),
        migrations.RemoveConstraint("volatilityforecast", "volatility_forecasts_method"),
        migrations.AlterField(
            "volatilityforecast",
            "method",
            models.CharField(blank=True, help_text="how it was found, such as garch or ewma", max_length=32),
        ),
    ]
