from importlib import import_module

from django.apps import AppConfig


class FlagsConfig(AppConfig):
    name = "helios.flags"
    label = "flags"
    verbose_name = "Feature flags"

    def ready(self) -> None:
        own = import_module("helios.flags.process")
        import_module("helios.control.process").join("flags", start=own.start_listener, stop=own.stop_listener)
