"""The generation of the flags moves to the table that counts for every subject of the control plane."""

import uuid

from django.db import migrations


def to_control(apps, schema_editor):
    row = apps.get_model("flags", "FlagGeneration").objects.filter(pk=1).first()
    if row is not None:
        apps.get_model("control", "SubjectGeneration").objects.update_or_create(
            pk="flags", defaults={"value": row.value, "token": uuid.uuid4()}
        )


def from_control(apps, schema_editor):
    row = apps.get_model("control", "SubjectGeneration").objects.filter(pk="flags").first()
    if row is not None:
        apps.get_model("flags", "FlagGeneration").objects.update_or_create(pk=1, defaults={"value": row.value})


class Migration(migrations.Migration):
    dependencies = [("flags", "0006_rules_end_with_their_release"), ("control", "0001_generations")]
    operations = [
        migrations.RunPython(to_control, from_control),
        migrations.DeleteModel(name="FlagGeneration"),
    ]
