"""A cycle is of a mode that there is: workers write these rows, and whoever reads one goes by it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0028_falls_and_forecasts_of_views")]
    operations = [
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["replay", "paper", "live"])), name="pipeline_cycles_mode"
            ),
        )
    ]
