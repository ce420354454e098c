"""Workers put no version in charge but the one before: that is all that their tasks do."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("modules", "0004_walls_of_test_runs")]
    operations = [
        for_workers(
            "modules_only_back",
            "modules",
            """NEW.active_id IS DISTINCT FROM OLD.active_id AND NEW.active_id IS DISTINCT FROM OLD.previous_id
    OR NEW.previous_id IS NOT NULL AND NEW.previous_id IS DISTINCT FROM OLD.previous_id""",
            "'a worker may go back to the version before, and to no other'",
        )
    ]
