import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Plain tokens of before keep opening what they opened; what can be read of them goes.
HASH_PLAIN_TOKENS = """
DO $$
BEGIN
    IF to_regclass('authtoken_token') IS NOT NULL THEN
        INSERT INTO api_tokens (user_id, name, digest, made_by, made_at, expires_at, revoked_by)
        SELECT user_id, 'default', encode(sha256(convert_to(key, 'UTF8')), 'hex'), 'migration', created,
               now() + interval '365 days', ''
        FROM authtoken_token;
        DROP TABLE authtoken_token;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("web", "0001_tables"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\\Z",
                                "a token's name must be 1 to 64 letters, digits or _ . -, the first a letter or digit",
                            )
                        ],
                    ),
                ),
                (
                    "digest",
                    models.CharField(editable=False, help_text="SHA-256 of the token.", max_length=64, unique=True),
                ),
                ("made_by", models.CharField(editable=False, max_length=150)),
                ("made_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(editable=False, help_text="Last use, to the minute.", null=True)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_by", models.CharField(blank=True, default="", editable=False, max_length=150)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_tokens",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "API token",
                "db_table": "api_tokens",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at", None)),
                        fields=("user", "name"),
                        name="api_tokens_one_of_a_name",
                    )
                ],
            },
        ),
        migrations.RunSQL(HASH_PLAIN_TOKENS, migrations.RunSQL.noop),
    ]
