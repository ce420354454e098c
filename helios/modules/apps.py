from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ModulesConfig(AppConfig):
    name = "helios.modules"
    label = "modules"
    verbose_name = "Modules"

    def ready(self) -> None:
        post_migrate.connect(_seal, sender=self)


def _seal(*, apps: Any = None, **_: Any) -> None:
    """Keep the sources of versions that a migration made of rows from before; only where all tables are there."""
    from helios.modules import services  # noqa: PLC0415 - models load after the apps

    asked = (("modules", "moduleversion"), ("events", "systemevent"), ("control", "subjectgeneration"))
    if apps is None or all(model in apps.all_models[label] for label, model in asked):  # not migrated back
        services.seal()
