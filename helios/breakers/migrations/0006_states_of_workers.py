"""Workers record where a breaker moved to by itself, as of now: not where a person put it, nor ahead of all others."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("breakers", "0005_transitions_of_workers")]
    operations = [
        for_workers(
            "breaker_states_of_workers",
            "circuit_breakers",
            "(NEW.last_state IS DISTINCT FROM OLD.last_state AND NEW.last_state IN ('FORCED_OPEN', 'METRICS_ONLY'))"
            " OR NEW.last_state_at > now() + interval '1 minute'",
            "'a worker may record that a breaker moved: % at % of % refused',"
            " NEW.last_state, NEW.last_state_at, NEW.name",
        )
    ]
