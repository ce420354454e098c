from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0003_views")]
    operations = [
        migrations.AddField(
            model_name="pipelinecycle",
            name="rollouts",
            field=models.JSONField(blank=True, default=list, help_text="challengers pinned: who decides which symbol"),
        ),
        migrations.AlterField(
            model_name="stagerun",
            name="module_version",
            field=models.CharField(blank=True, max_length=96),
        ),
        migrations.AddField(
            model_name="book",
            name="strategy",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="strategy that chooses the target weights, with its parameters; empty: tier 6 does",
            ),
        ),
    ]
