from importlib import import_module

from django.apps import AppConfig


class PlatformConfig(AppConfig):
    name = "helios.platform"
    label = "platform"
    verbose_name = "Platform"

    def ready(self) -> None:
        import_module("helios.checks")
