"""The limit on the loss of the worst bars stands in the risk decision, since the weights that are chosen keep it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0016_feed_coverage")]
    operations = [
        migrations.AddField(
            model_name="riskdecision",
            name="tail",
            field=models.JSONField(help_text="the limit on the loss of the worst bars, where one holds", null=True),
        )
    ]
