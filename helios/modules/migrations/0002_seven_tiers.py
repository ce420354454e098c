"""The seven tiers as modules, each needing the one before it; reversing takes exactly these away."""

from django.db import migrations

STAGES = ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute"]


def install(apps, schema_editor):
    module = apps.get_model("modules", "Module")
    before = None
    for generation, stage in enumerate(STAGES, start=1):
        module.objects.get_or_create(
            name=stage,
            defaults={
                "path": f"tiers.{stage}",
                "version": "1.0.0",
                "dependencies": {before: "^1.0.0"} if before else {},
                "state": "ACTIVE",
                "generation": generation,
            },
        )
        before = stage


def remove(apps, schema_editor):
    apps.get_model("modules", "Module").objects.filter(name__in=STAGES).delete()


class Migration(migrations.Migration):
    dependencies = [("modules", "0001_tables")]
    operations = [migrations.RunPython(install, remove)]
