"""Prices, quantities and money keep all their digits, in every partition too; a position can carry its cost."""

from decimal import Decimal
from importlib import import_module

from django.db import migrations

from trading.models.columns import Exact

views = import_module("trading.migrations.0003_views")
EXACT = {
    "balance": ("total", "available"),
    "book": ("initial_cash", "cash", "peak_equity"),
    "instrument": ("quantity_step", "price_tick"),
    "markettrade": ("price", "quantity"),
    "order": ("quantity", "reference_price"),
    "paperorder": ("quantity",),
    "portfoliosnapshot": ("equity", "cash", "peak_equity"),
    "tradeexecution": ("quantity", "price", "notional", "fee"),
}
FROM_ZERO = {"order": ("filled_quantity",), "position": ("quantity", "average_price", "realised_pnl", "fees_paid")}


def altered(columns: dict[str, tuple[str, ...]], field: Exact) -> list[migrations.AlterField]:
    return [migrations.AlterField(model, name, field) for model, names in columns.items() for name in names]


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_models_by_universe")]
    operations = [
        migrations.RunSQL("DROP VIEW v_active_positions", views.ACTIVE_POSITIONS),
        migrations.RunSQL("DROP VIEW v_portfolio_performance", views.PORTFOLIO_PERFORMANCE),
        *altered(EXACT, Exact()),
        *altered(FROM_ZERO, Exact(default=Decimal(0))),
        migrations.AlterField("instrument", "min_notional", Exact(default=0)),
        migrations.AlterField("position", "last_price", Exact(null=True, blank=True)),
        migrations.AddField("position", "cost", Exact(default=Decimal(0))),
    ]
