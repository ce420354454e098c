from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SystemEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("kind", models.CharField(db_index=True, max_length=64)),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")],
                        default="info",
                        max_length=8,
                    ),
                ),
                ("source", models.CharField(max_length=255)),
                ("subject", models.CharField(blank=True, max_length=128)),
                ("data", models.JSONField(blank=True, default=dict)),
            ],
            options={
                "db_table": "system_events",
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("severity__in", ["info", "warning", "critical"])),
                        name="system_events_severity",
                    )
                ],
            },
        ),
    ]
