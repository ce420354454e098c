"""A worker changes a rollout by pausing it or rolling it back only: it puts off no analysis, and counts by one."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0003_moves_of_workers")]
    operations = [
        for_workers(
            "rollouts_moved_only",
            "rollouts",
            """NEW.state = OLD.state
    OR (NEW.version, NEW.next_analysis_at) IS DISTINCT FROM (OLD.version + 1, NULL::timestamptz)""",
            "'a worker may pause a rollout or roll it back, and nothing else of %', OLD.name",
        )
    ]
