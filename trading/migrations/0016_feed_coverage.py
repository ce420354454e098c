"""How far each instrument is known from its venue."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0015_tries_of_a_stage"),
    ]

    operations = [
        migrations.CreateModel(
            name="FeedCoverage",
            fields=[
                ("symbol", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
                (
                    "updated_at",
                    models.DateTimeField(auto_now=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "feed_coverage",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="feed_coverage_symbol",
                    )
                ],
            },
        ),
    ]
