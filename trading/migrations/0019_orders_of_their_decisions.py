"""No worker takes the id of an order or a fill to come: an order has that of its decision, a fill that of its order."""

from django.db import migrations

from helios.db.triggers import for_workers

# As `tiers.contracts.plans.client_order_id` makes it of the key of a book.
_ID = """'h' || left(encode(sha256(convert_to(concat_ws('|',
        'book:' || NEW.book_id,
        to_char(NEW.bar_ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        NEW.symbol,
        NEW.side
    ), 'UTF8')), 'hex'), 24)"""
_IDENTITY = "client_order_id, book_id, symbol, side, bar_ts"


class Migration(migrations.Migration):
    dependencies = [("trading", "0018_amounts_that_are_carried")]
    operations = [
        for_workers(
            "orders_of_their_decisions",
            "orders",
            f"""NEW.client_order_id <> {_ID}
    OR NOT EXISTS (SELECT FROM portfolio_state WHERE id = NEW.book_id AND NEW.symbol = ANY(symbols))""",
            "'a worker may write an order of a symbol of its book, with its own id: % of % refused', "
            "NEW.client_order_id, NEW.symbol",
            events=f"INSERT OR UPDATE OF {_IDENTITY}",
        ),
        for_workers(
            "paper_orders_of_orders",
            "paper_orders",
            f"""NEW.status = 'OPEN' AND OLD.status <> 'OPEN'
    OR ({", ".join(f"NEW.{name}" for name in _IDENTITY.split(", "))}) NOT IN (
        SELECT {_IDENTITY} FROM orders WHERE client_order_id = NEW.client_order_id
    )""",
            "'a worker may place what was ordered, once: % refused', NEW.client_order_id",
            events=f"INSERT OR UPDATE OF {_IDENTITY}, status",
        ),
        # One of an order that is still to fill would take the id of its fill.
        for_workers(
            "trade_executions_of_orders",
            "trade_executions",
            """NOT EXISTS (
        SELECT FROM orders o JOIN paper_orders p USING (client_order_id)
        WHERE (o.id, o.book_id, o.symbol, o.side) = (NEW.order_id, NEW.book_id, NEW.symbol, NEW.side)
        AND p.status = 'FILLED' AND starts_with(NEW.venue_fill_id, o.client_order_id || '-')
    )""",
            "'a worker may record the fill of an order that is filled: % refused', NEW.venue_fill_id",
            events="INSERT",
            when="AFTER",
        ),
    ]
