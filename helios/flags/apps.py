from importlib import import_module

from django.apps import AppConfig


class FlagsConfig(AppConfig):
    name = "helios.flags"
    label = "flags"
    verbose_name = "Feature flags"

    def ready(self) -> None:
        import_module("helios.control.process").join(
            "flags",  # loaded by the process that listens
            start=lambda: import_module("helios.flags.process").start_listener(),
            stop=lambda: import_module("helios.flags.process").stop_listener(),
        )
