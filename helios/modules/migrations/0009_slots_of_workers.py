"""Workers change a slot by the move back alone, and answer swaps in the shape that every reader takes them in."""

from django.db import migrations, models

from helios.db.triggers import for_workers
from helios.modules.models import ANSWERS

# At the end of the transaction: a version leaves its slot before the one that was there comes back.
_WHOLE_MOVE = """
CREATE FUNCTION module_versions_in_charge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM module_versions v JOIN modules m ON m.id = v.module_id
        WHERE v.id = NEW.id AND (v.state = 'ACTIVE') <> (m.active_id IS NOT DISTINCT FROM v.id)
    ) THEN
        RAISE EXCEPTION 'a worker may go back to the version before, with the slot: % refused', NEW.label
            USING ERRCODE = '42501';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER module_versions_in_charge AFTER UPDATE ON module_versions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (current_user = 'helios_worker') EXECUTE FUNCTION module_versions_in_charge();
"""


class Migration(migrations.Migration):
    dependencies = [("modules", "0008_passed_once")]
    operations = [
        for_workers(
            "modules_whole_moves",
            "modules",
            """(NEW.active_id IS DISTINCT FROM OLD.active_id) <> (NEW.previous_id IS DISTINCT FROM OLD.previous_id)
    OR NEW.active_id IS DISTINCT FROM OLD.active_id AND NEW.previous_id IS NOT NULL
    OR NEW.watch_id IS NOT NULL AND NEW.watch_id IS DISTINCT FROM OLD.watch_id
    OR NOT EXISTS (
        SELECT FROM module_versions
        WHERE id = NEW.active_id AND state = 'ACTIVE'
        AND (path, version, dependencies, state, error, loaded_at) IS NOT DISTINCT FROM
            (NEW.path, NEW.version, NEW.dependencies, NEW.state, NEW.error, NEW.loaded_at)
    )""",
            "'a worker may go back to the version before, and leave slot % as it is', OLD.name",
        ),
        migrations.RunSQL(
            _WHOLE_MOVE,
            "DROP TRIGGER module_versions_in_charge ON module_versions; DROP FUNCTION module_versions_in_charge();",
        ),
        migrations.RunSQL(
            "DELETE FROM module_processes", migrations.RunSQL.noop
        ),  # those that live enter themselves anew
        migrations.AddConstraint(
            "moduleprocess", models.CheckConstraint(condition=ANSWERS, name="module_processes_answers")
        ),
    ]
