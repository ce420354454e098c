"""Each test run says which walls around its process the machine did not allow."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("modules", "0003_seven_tiers")]
    operations = [
        migrations.AddField(
            model_name="moduletestrun",
            name="lacking",
            field=models.JSONField(default=list, help_text="Walls around its process that the machine did not allow."),
        )
    ]
