"""Workers count by one, so that a number stays that others can count on, and lock no row that they may not change."""

from django.db import migrations

from helios.db.triggers import for_workers
from helios.stack.endpoints import WORKER

_OWN_ROWS = f"""
ALTER TABLE control_generations ENABLE ROW LEVEL SECURITY;
CREATE POLICY control_generations_of_all ON control_generations USING (true);
CREATE POLICY control_generations_of_workers ON control_generations AS RESTRICTIVE FOR UPDATE
    USING (current_user <> '{WORKER}' OR subject IN ('modules', 'rollouts'));
"""
_ALL_ROWS = """
DROP POLICY control_generations_of_workers ON control_generations;
DROP POLICY control_generations_of_all ON control_generations;
ALTER TABLE control_generations DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("control", "0004_results_that_stand")]
    operations = [
        for_workers(
            "control_generations_by_one",
            "control_generations",
            "NEW.value <> OLD.value + 1",
            "'a worker may count one change of %, not to %', OLD.subject, NEW.value",
        ),
        migrations.RunSQL(_OWN_ROWS, _ALL_ROWS),
    ]
