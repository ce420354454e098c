from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_bars_from_long_sources")]
    operations = [
        migrations.AddField(
            model_name="mlmodel",
            name="artifact_sha256",
            field=models.CharField(default="", help_text="over its whole card, weights included", max_length=64),
        ),
        migrations.AlterField(
            model_name="mlmodel",
            name="path",
            field=models.TextField(help_text="its folder, relative to var/"),
        ),
        migrations.AddConstraint(
            model_name="mlmodel",
            constraint=models.CheckConstraint(
                condition=models.Q(("artifact_sha256__regex", "^([0-9a-f]{64})?$")), name="ml_models_artifact_sha256"
            ),
        ),
    ]
