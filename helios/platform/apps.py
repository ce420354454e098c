from importlib import import_module

from django.apps import AppConfig


class PlatformConfig(AppConfig):
    name = "helios.platform"
    label = "platform"
    verbose_name = "Platform"

    def ready(self) -> None:
        import_module("helios.checks")
        import_module("helios.celery")  # tasks that this process sends go to our broker
