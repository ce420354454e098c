from django.apps import AppConfig


class ModulesConfig(AppConfig):
    name = "helios.modules"
    label = "modules"
    verbose_name = "Modules"
