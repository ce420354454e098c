"""A position carries its cost in place of an average price, which follows from it."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q


views = import_module("trading.migrations.0003_views")
ACTIVE_POSITIONS = """
CREATE VIEW v_active_positions AS
SELECT p.id, b.name AS book, b.mode, p.symbol, p.quantity, p.cost, p.cost / p.quantity AS average_price, p.last_price,
       round(p.quantity * p.last_price, 8) AS market_value,
       round(p.quantity * p.last_price, 8) - p.cost AS unrealised_pnl,
       p.realised_pnl, p.fees_paid, p.updated_at
FROM positions p JOIN portfolio_state b ON b.id = p.book_id
WHERE p.quantity <> 0
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0007_costs_of_positions")]
    operations = [
        migrations.RemoveConstraint("position", "positions_average_price"),
        migrations.RemoveField("position", "average_price"),
        migrations.AddConstraint(
            "position",
            models.CheckConstraint(
                condition=Q(quantity__gt=0, cost__gte=0) | Q(quantity=0, cost=0) | Q(quantity__lt=0, cost__lte=0),
                name="positions_cost",
            ),
        ),
        migrations.RunSQL(ACTIVE_POSITIONS, "DROP VIEW v_active_positions"),
        migrations.RunSQL(views.PORTFOLIO_PERFORMANCE, "DROP VIEW v_portfolio_performance"),
    ]
