from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PlatformConfig(AppConfig):
    name = "helios.platform"
    label = "platform"
    verbose_name = "Platform"

    def ready(self) -> None:
        import_module("helios.checks")
        import_module("helios.celery")  # tasks that this process sends go to our broker
        import_module("helios.platform.schema")
        access = import_module("helios.platform.access")
        post_migrate.connect(access.keep_groups, dispatch_uid="helios.platform.groups")
