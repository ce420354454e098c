"""Workers pause a rollout or roll it back: who goes forward has another role."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0002_append_only")]
    operations = [
        for_workers(
            "rollouts_never_forward",
            "rollouts",
            """(NEW.step, NEW.n_inconclusive, NEW.n_errors, NEW.started_at, NEW.measured_since)
        IS DISTINCT FROM (OLD.step, OLD.n_inconclusive, OLD.n_errors, OLD.started_at, OLD.measured_since)
    OR NEW.state <> OLD.state AND NOT (
        OLD.state IN ('RUNNING', 'PAUSED', 'PROMOTING') AND NEW.state IN ('PAUSED', 'ROLLED_BACK')
    )""",
            "'a worker may pause a rollout or roll it back: % to % refused', OLD.state, NEW.state",
        )
    ]
