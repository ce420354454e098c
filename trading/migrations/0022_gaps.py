"""Which times of an instrument its venue has no bars of."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0021_booked_actions"),
    ]

    operations = [
        migrations.CreateModel(
            name="MarketGap",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "symbol", "timeframe", "after", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("after", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("reason", models.CharField(max_length=255)),
                (
                    "found_at",
                    models.DateTimeField(auto_now_add=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "market_gaps",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="market_gaps_symbol",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("until__gt", models.F("after"))), name="market_gaps_forward"
                    ),
                ],
            },
        ),
    ]
