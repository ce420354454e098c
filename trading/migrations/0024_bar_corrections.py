"""What corrections of bars replaced."""

import django.db.models.functions.datetime
from django.db import migrations, models

from helios.db.triggers import append_only_sql


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0023_accuracy_over_actions"),
    ]

    operations = [
        migrations.CreateModel(
            name="BarCorrection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("revision", models.PositiveIntegerField()),
                ("open", models.FloatField()),
                ("high", models.FloatField()),
                ("low", models.FloatField()),
                ("close", models.FloatField()),
                ("volume", models.FloatField()),
                ("source", models.CharField(max_length=255)),
                (
                    "replaced_at",
                    models.DateTimeField(auto_now_add=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "bar_corrections",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["symbol", "timeframe", "bar_ts"], name="bar_corrections_of_bar")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="bar_corrections_symbol",
                    )
                ],
            },
        ),
        migrations.RunSQL(*append_only_sql("bar_corrections")),
    ]
