"""The seven tiers as modules, each needing the one before it; reversing takes exactly these away."""

from django.db import migrations

STAGES = ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute"]


def install(apps, schema_editor):
    slots, versions = apps.get_model("modules", "Module"), apps.get_model("modules", "ModuleVersion")
    before = None
    for generation, stage in enumerate(STAGES, start=1):
        described = {
            "path": f"tiers.{stage}",
            "version": "1.0.0",
            "dependencies": {before: "^1.0.0"} if before else {},
            "state": "ACTIVE",
        }
        slot, made = slots.objects.get_or_create(name=stage, defaults={**described, "generation": generation})
        if made:  # its sources are read, hashed and kept when migrating has ended (`helios.modules.apps`)
            slot.active = versions.objects.create(module=slot, label="1.0.0", registered_by="migration", **described)
            slot.save(update_fields=["active"])
        before = stage


def remove(apps, schema_editor):
    shipped = apps.get_model("modules", "Module").objects.filter(name__in=STAGES)
    shipped.update(active=None, previous=None, watch=None)
    shipped.delete()


class Migration(migrations.Migration):
    dependencies = [("modules", "0002_append_only")]
    operations = [migrations.RunPython(install, remove)]
