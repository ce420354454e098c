"""Splits and dividends as data."""

import django.db.models.functions.datetime
import django.db.models.functions.math
import django.db.models.lookups
import trading.models.columns
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0019_orders_of_their_decisions"),
    ]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="actions_from",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="ex-time of its first corporate action; empty where it has none",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="CorporateAction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                (
                    "ex_ts",
                    models.DateTimeField(
                        help_text="the beginning of the first day on which the price is without it, in UTC"
                    ),
                ),
                ("kind", models.CharField(choices=[("split", "Split"), ("dividend", "Dividend")], max_length=8)),
                (
                    "value",
                    trading.models.columns.Exact(
                        help_text="a split's new shares for `per` old ones; a dividend's money a share, in the quote currency"
                    ),
                ),
                ("per", trading.models.columns.Exact(default=1)),
                ("source", models.CharField(max_length=255)),
                ("revision", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "stored_at",
                    models.DateTimeField(auto_now=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "corporate_actions",
                "ordering": ["symbol", "ex_ts", "kind"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="corporate_actions_symbol",
                    ),
                    models.UniqueConstraint(fields=("symbol", "ex_ts", "kind"), name="corporate_actions_once"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["split", "dividend"])), name="corporate_actions_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.LessThan(
                                django.db.models.functions.math.Abs("value"),
                                models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                            ),
                            django.db.models.lookups.LessThan(
                                django.db.models.functions.math.Abs("per"),
                                models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                            ),
                            django.db.models.lookups.LessThanOrEqual(
                                models.Func("value", function="scale"), models.Value(64)
                            ),
                            django.db.models.lookups.LessThanOrEqual(
                                models.Func("per", function="scale"), models.Value(64)
                            ),
                        ),
                        name="corporate_actions_finite",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("value__gt", 0), ("per__gt", 0)), name="corporate_actions_positive"
                    ),
                ],
            },
        ),
    ]
