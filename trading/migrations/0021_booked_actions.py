"""What splits and dividends did to the books, and the dividends of each position."""

import django.db.models.deletion
import django.db.models.functions.math
import django.db.models.lookups
import trading.models.columns
from decimal import Decimal
from django.db import migrations, models

from helios.db.triggers import append_only_sql


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0020_corporate_actions"),
    ]

    operations = [
        migrations.CreateModel(
            name="BookedAction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                ("ex_ts", models.DateTimeField()),
                ("kind", models.CharField(max_length=8)),
                ("value", trading.models.columns.Exact()),
                ("per", trading.models.columns.Exact()),
                ("quantity", trading.models.columns.Exact(help_text="held before, signed")),
                (
                    "remaining",
                    trading.models.columns.Exact(help_text="held after; shares that make no lot were paid out"),
                ),
                ("price", trading.models.columns.Exact(help_text="the open of the first bar without it")),
                ("cash", trading.models.columns.Exact(help_text="what came to the cash")),
                ("bar_ts", models.DateTimeField(help_text="close of that bar")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "booked_actions",
                "ordering": ["-id"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="position",
            name="positions_finite",
        ),
        migrations.AddField(
            model_name="position",
            name="dividends",
            field=trading.models.columns.Exact(
                default=Decimal("0"), help_text="paid for what was held; below 0 where a short paid them"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("quantity"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("cost"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("realised_pnl"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("fees_paid"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("last_price"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("dividends"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("quantity", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(models.Func("cost", function="scale"), models.Value(64)),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("realised_pnl", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("fees_paid", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("last_price", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("dividends", function="scale"), models.Value(64)
                    ),
                ),
                name="positions_finite",
            ),
        ),
        migrations.AddField(
            model_name="bookedaction",
            name="book",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="actions", to="trading.book"
            ),
        ),
        migrations.AddConstraint(
            model_name="bookedaction",
            constraint=models.UniqueConstraint(fields=("book", "symbol", "ex_ts", "kind"), name="booked_actions_once"),
        ),
        migrations.AddConstraint(
            model_name="bookedaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["split", "dividend"])), name="booked_actions_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="bookedaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("value"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("per"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("quantity"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("remaining"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("price"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThan(
                        django.db.models.functions.math.Abs("cash"),
                        models.Value(Decimal("100000000000000000000"), trading.models.columns.Exact()),
                    ),
                    django.db.models.lookups.LessThanOrEqual(models.Func("value", function="scale"), models.Value(64)),
                    django.db.models.lookups.LessThanOrEqual(models.Func("per", function="scale"), models.Value(64)),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("quantity", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(
                        models.Func("remaining", function="scale"), models.Value(64)
                    ),
                    django.db.models.lookups.LessThanOrEqual(models.Func("price", function="scale"), models.Value(64)),
                    django.db.models.lookups.LessThanOrEqual(models.Func("cash", function="scale"), models.Value(64)),
                ),
                name="booked_actions_finite",
            ),
        ),
        migrations.AddConstraint(
            model_name="bookedaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("value__gt", 0), ("per__gt", 0), ("price__gt", 0)), name="booked_actions_positive"
            ),
        ),
        migrations.RunSQL(*append_only_sql("booked_actions")),
    ]
