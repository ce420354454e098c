"""What an arm decided is written while its cycle runs, of a rollout and a step that the cycle was pinned to."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_limit_in_the_currency_of_the_book"), ("rollouts", "0003_moves_of_workers")]
    operations = [
        for_workers(
            "rollout_decisions_of_cycles",
            "rollout_decisions",
            """NOT EXISTS (
        SELECT FROM pipeline_cycles WHERE id = NEW.cycle_id AND status = 'RUNNING' AND bar_ts = NEW.bar_ts
        AND rollouts @> jsonb_build_array(jsonb_build_object('rollout_id', NEW.rollout_id, 'step', NEW.step))
    )""",
            "'a worker may record what a running cycle decided for its rollouts: cycle % refused', NEW.cycle_id",
            events="INSERT",
        )
    ]
