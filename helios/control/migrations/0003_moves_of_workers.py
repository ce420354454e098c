"""Workers count their own changes of modules and rollouts: what they count back, or of flags, would hide a change."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("control", "0002_partitions_of_the_owner")]
    operations = [
        for_workers(
            "control_generations_only_on",
            "control_generations",
            "NEW.subject <> OLD.subject OR OLD.subject NOT IN ('modules', 'rollouts') OR NEW.value <= OLD.value",
            "'a worker may count a change of modules or rollouts: % of % refused', NEW.value, OLD.subject",
        )
    ]
