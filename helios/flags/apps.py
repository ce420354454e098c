from django.apps import AppConfig


class FlagsConfig(AppConfig):
    name = "helios.flags"
    label = "flags"
    verbose_name = "Feature flags"
