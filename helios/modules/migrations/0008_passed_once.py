"""`loaded_at`: when a version passed its tests, or came with Helios. Processes load no other; no worker says it."""

from django.db import migrations

from helios.db.triggers import for_workers

_SHIPPED = """
UPDATE module_versions SET loaded_at = created_at WHERE loaded_at IS NULL AND state IN ('LOADED', 'ACTIVE')
"""


class Migration(migrations.Migration):
    dependencies = [("modules", "0007_processes_say_what_they_do")]
    operations = [
        migrations.RunSQL(_SHIPPED, migrations.RunSQL.noop),
        for_workers(
            "module_versions_passed",
            "module_versions",
            "NEW.loaded_at IS DISTINCT FROM OLD.loaded_at",
            "'a worker may not say when version % passed its tests', OLD.label",
        ),
    ]
