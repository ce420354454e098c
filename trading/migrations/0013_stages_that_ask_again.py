"""When a stage first asked for another try, kept on its cycle."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0012_pins_that_are_in_charge")]
    operations = [
        migrations.AddField(
            model_name="pipelinecycle",
            name="asked_at",
            field=models.DateTimeField(
                blank=True, help_text="when the stage that is due was tried and first asked for another try", null=True
            ),
        )
    ]
