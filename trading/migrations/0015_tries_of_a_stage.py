"""How often a stage with challengers was really tried, kept on its cycle beside how often its chain was sent again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0014_rows_that_block_nothing")]
    operations = [
        migrations.AddField(
            model_name="pipelinecycle",
            name="tries",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="runs of the stage that is due since its chain was sent again, where challengers take part",
            ),
        )
    ]
