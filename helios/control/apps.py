from importlib import import_module

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class ControlConfig(AppConfig):
    name = "helios.control"
    label = "control"
    verbose_name = "Control plane"

    def ready(self) -> None:
        post_migrate.connect(import_module("helios.db.roles").grant, sender=self)
        connection_created.connect(
            import_module("helios.db.failures").report_broken_connections, dispatch_uid="helios.db.errors"
        )
