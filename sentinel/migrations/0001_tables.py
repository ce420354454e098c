import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("ts", models.DateTimeField()),
                ("worker", models.CharField(blank=True, help_text="who ran the task that beat sent", max_length=128)),
            ],
            options={
                "db_table": "sentinel_heartbeats",
            },
        ),
        migrations.CreateModel(
            name="AuditRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.DateTimeField(db_index=True)),
                ("duration_ms", models.FloatField()),
                ("verdict", models.CharField(max_length=8)),
                ("checks", models.JSONField(default=list)),
                ("n_findings", models.PositiveIntegerField()),
            ],
            options={
                "db_table": "sentinel_audit_runs",
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("verdict__in", ["HEALTHY", "DEGRADED", "CRITICAL"])),
                        name="sentinel_audit_runs_verdict",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Finding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(editable=False, max_length=256)),
                ("check_name", models.CharField(max_length=32, verbose_name="check")),
                ("code", models.CharField(max_length=64)),
                (
                    "severity",
                    models.CharField(
                        choices=[("info", "Info"), ("warning", "Warning"), ("critical", "Critical")], max_length=8
                    ),
                ),
                ("subject", models.CharField(blank=True, max_length=160)),
                ("message", models.TextField()),
                ("observed", models.CharField(blank=True, max_length=128)),
                ("limit", models.CharField(blank=True, max_length=128)),
                ("count", models.PositiveIntegerField(default=1, help_text="audits that saw it")),
                ("first_seen", models.DateTimeField()),
                ("last_seen", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "sentinel_findings",
                "ordering": ["-last_seen", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at__isnull", True)),
                        fields=("fingerprint",),
                        name="sentinel_findings_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("severity__in", ["info", "warning", "critical"])),
                        name="sentinel_findings_severity",
                    ),
                    models.CheckConstraint(condition=models.Q(("count__gte", 1)), name="sentinel_findings_count"),
                    models.CheckConstraint(
                        condition=models.Q(("last_seen__gte", models.F("first_seen"))),
                        name="sentinel_findings_seen_in_order",
                    ),
                ],
            },
        ),
    ]
