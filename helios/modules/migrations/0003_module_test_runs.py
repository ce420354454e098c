"""The history of module tests: append-only, without foreign keys."""

from django.db import migrations, models

from helios.db.triggers import append_only_sql


class Migration(migrations.Migration):
    dependencies = [("modules", "0002_seven_tiers")]

    operations = [
        migrations.CreateModel(
            name="ModuleTestRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("module", models.CharField(max_length=64)),
                ("version", models.CharField(help_text="The label of the tested version.", max_length=160)),
                (
                    "digest",
                    models.CharField(blank=True, help_text="SHA-256 of the tested sources.", max_length=64),
                ),
                (
                    "suites",
                    models.JSONField(default=list, help_text="The suites that were run, in their order."),
                ),
                ("passed", models.BooleanField(help_text="Whether every required test passed.")),
                (
                    "results",
                    models.JSONField(default=list, help_text="One object a test: name, suite, outcome, message."),
                ),
                ("output", models.TextField(blank=True, help_text="The end of what the code printed.")),
                ("actor", models.CharField(max_length=150)),
                ("started_at", models.DateTimeField(db_index=True)),
                ("duration_ms", models.FloatField()),
            ],
            options={
                "db_table": "module_test_runs",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["module", "-id"], name="module_test_runs_latest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("duration_ms__gte", 0)), name="module_test_runs_duration"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("module", ""), _negated=True), name="module_test_runs_module"
                    ),
                ],
            },
        ),
        migrations.RunSQL(*append_only_sql("module_test_runs")),
    ]
