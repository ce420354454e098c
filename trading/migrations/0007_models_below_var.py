"""Models registered so far: the hash over their registered card, and their folder relative to var/."""

import hashlib
import json
from pathlib import Path

from django.conf import settings
from django.db import migrations


def forward(apps, _schema_editor):
    for model in apps.get_model("trading", "MLModel").objects.iterator():
        text = json.dumps(_whole(model.card), sort_keys=True, separators=(",", ":"))
        model.artifact_sha256 = hashlib.sha256(text.encode()).hexdigest()
        path = Path(model.path)
        if path.is_absolute() and path.parts[-2:] == ("models", model.name):  # as `train` wrote them
            model.path = f"models/{model.name}"
        model.save(update_fields=["artifact_sha256", "path"])


def backward(apps, _schema_editor):
    for model in apps.get_model("trading", "MLModel").objects.iterator():
        model.path = str(Path(settings.VAR_DIR) / model.path)
        model.save(update_fields=["path"])


def _whole(value):
    """As `tiers.predict.artefact` hashes a card."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items() if key != "artifact_sha256"}
    return [_whole(each) for each in value] if isinstance(value, list) else value


class Migration(migrations.Migration):
    dependencies = [("trading", "0006_whole_artifacts")]
    operations = [migrations.RunPython(forward, backward)]
