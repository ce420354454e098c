from django.apps import AppConfig


class BreakersConfig(AppConfig):
    name = "helios.breakers"
    label = "breakers"
    verbose_name = "Circuit breakers"
