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
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=255)),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=500)),
                ("request_hash", models.CharField(help_text="SHA-256 of the parameters and the body.", max_length=64)),
                ("status", models.PositiveSmallIntegerField(help_text="Null while the request runs.", null=True)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "api_idempotency_keys",
                "constraints": [
                    models.UniqueConstraint(fields=("user", "key"), name="api_idempotency_keys_once"),
                    models.CheckConstraint(
                        condition=models.Q(("key", ""), _negated=True), name="api_idempotency_keys_key"
                    ),
                ],
            },
        ),
    ]
