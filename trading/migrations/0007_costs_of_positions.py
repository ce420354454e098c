"""What each position cost, and realised, out of its fills: the average prices of before had lost digits."""

from collections import defaultdict
from decimal import Decimal

from django.db import migrations
from django.db.models import F

SMALLEST = Decimal("0.00000001")


def held_by_fills(executions):
    """Quantity, cost and realised profit by book and symbol, by average cost."""
    held = defaultdict(lambda: (Decimal(0), Decimal(0), Decimal(0)))
    rows = executions.order_by("id").values_list("book_id", "symbol", "side", "quantity", "notional")
    for book, symbol, side, traded, notional in rows.iterator(chunk_size=2_000):
        quantity, cost, realised = held[book, symbol]
        sign = 1 if side == "BUY" else -1
        closing = min(traded, abs(quantity)) if quantity * sign < 0 else Decimal(0)
        cost_closed = (cost * closing / abs(quantity)).quantize(SMALLEST) if closing else Decimal(0)
        paid, paid_closing = sign * notional, (sign * notional * closing / traded).quantize(SMALLEST)
        held[book, symbol] = (
            quantity + sign * traded,
            cost - cost_closed + paid - paid_closing,
            realised - cost_closed - paid_closing,
        )
    return held


def fill_in(apps, _schema_editor):
    held = held_by_fills(apps.get_model("trading", "TradeExecution").objects)
    for position in apps.get_model("trading", "Position").objects.iterator():
        quantity, cost, realised = held.get((position.book_id, position.symbol), (None, None, None))
        if quantity == position.quantity:
            position.cost, position.realised_pnl = cost, realised
        else:  # not made of fills
            position.cost = (position.quantity * position.average_price).quantize(SMALLEST)
        position.save(update_fields=["cost", "realised_pnl"])


def average(apps, _schema_editor):
    positions = apps.get_model("trading", "Position").objects
    positions.exclude(quantity=0).update(average_price=F("cost") / F("quantity"))


class Migration(migrations.Migration):
    dependencies = [("trading", "0006_exact_numbers")]
    operations = [migrations.RunPython(fill_in, average)]
