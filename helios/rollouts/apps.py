from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "helios.rollouts"
    label = "rollouts"
    verbose_name = "Rollouts"
