"""A worker's row begins without an answer or a call, and no worker says that a process lives later than now."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("modules", "0006_moves_of_workers")]
    operations = [
        for_workers(
            "module_processes_live_now",
            "module_processes",
            """NEW.seen_at > clock_timestamp()
    OR TG_OP = 'INSERT' AND (NEW.prepared <> '{}' OR NEW.loaded <> '{}' OR NEW.calling IS NOT NULL)""",
            "'a worker may say that process % lives now, and begin with no answer', NEW.id",
            events="INSERT OR UPDATE",
        )
    ]
