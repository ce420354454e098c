"""Each module of before becomes a slot with one version, in the state it had.

What its code was is not known here: the sources are read, hashed and kept when migrating has ended (`helios.modules.
apps`). Reversing forgets the versions; path, version and state of the one in use stand in the slot's own row.
"""

from django.db import migrations


def split(apps, schema_editor):
    version = apps.get_model("modules", "ModuleVersion")
    for slot in apps.get_model("modules", "Module").objects.filter(versions=None).order_by("id"):
        made = version.objects.create(
            module=slot,
            version=slot.version,
            label=slot.version,
            path=slot.path,
            dependencies=slot.dependencies,
            state=slot.state,
            error=slot.error,
            loaded_at=slot.loaded_at,
            registered_by="migration",
        )
        if slot.state == "ACTIVE":
            slot.active = made
            slot.save(update_fields=["active"])


def join(apps, schema_editor):
    apps.get_model("modules", "Module").objects.update(active=None, previous=None, watch=None)
    apps.get_model("modules", "ModuleSwap").objects.all().delete()
    apps.get_model("modules", "ModuleVersion").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("modules", "0004_slots_versions_swaps")]
    operations = [migrations.RunPython(split, join)]
