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

    if apps is None or _complete(apps):
        services.seal()


def _complete(apps: Any) -> bool:
    """Whether the database was migrated to where all that `seal` asks is known, and not back again."""
    try:
        apps.get_model("modules", "ModuleVersion")
        apps.get_model("events", "SystemEvent")
        apps.get_model("control", "SubjectGeneration")
    except LookupError:
        return False
    return True
