from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0002_append_only")]
    operations = [
        migrations.RenameField(model_name="rollout", old_name="generation", new_name="version"),
        migrations.AlterField(
            model_name="rollout",
            name="version",
            field=models.BigIntegerField(default=0, help_text="Grows with every move of this rollout."),
        ),
    ]
