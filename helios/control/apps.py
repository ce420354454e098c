from django.apps import AppConfig


class ControlConfig(AppConfig):
    name = "helios.control"
    label = "control"
    verbose_name = "Control plane"
