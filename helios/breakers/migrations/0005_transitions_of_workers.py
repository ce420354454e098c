"""Workers record that a breaker moved: what a person did with one is told by who serves that person."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("breakers", "0004_ccxt_breaker")]
    operations = [
        for_workers(
            "breaker_events_of_workers",
            "circuit_breaker_events",
            "NEW.action <> 'transition' OR NEW.changes <> '{}'",
            "'a worker may record that a breaker moved: % of % with % refused', NEW.action, NEW.name, NEW.changes",
            events="INSERT",
        )
    ]
