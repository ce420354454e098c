"""Of versions and swaps workers write what watching a switch and rolling it back writes, and no other move."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("modules", "0005_only_back_for_workers")]
    operations = [
        for_workers(
            "module_versions_only_back",
            "module_versions",
            """NEW.state IS DISTINCT FROM OLD.state AND NOT (
        OLD.state = 'ACTIVE' AND NEW.state IN ('LOADED', 'FAILED')
        OR OLD.state = 'LOADED' AND NEW.state = 'ACTIVE' AND EXISTS (SELECT FROM modules WHERE previous_id = NEW.id)
    )""",
            "'a worker may go back to the version before: % to % refused', OLD.state, NEW.state",
        ),
        for_workers(
            "module_swaps_only_back",
            "module_swaps",
            """NOT (
        TG_OP = 'INSERT' AND NEW.kind = 'rollback' AND NEW.state = 'COMPLETED' AND EXISTS (
            SELECT FROM modules
            WHERE id = NEW.module_id AND active_id = NEW.from_version_id AND previous_id = NEW.to_version_id
        )
        OR TG_OP = 'UPDATE' AND (NEW.state = OLD.state OR OLD.state IN ('SWITCHED', 'COMPLETED')
            AND NEW.state IN ('COMPLETED', 'FAILED', 'ROLLED_BACK'))
    )""",
            "'a worker may end a switch and roll it back: % to % refused', NEW.kind, NEW.state",
            events="INSERT OR UPDATE",
        ),
    ]
