from django.apps import AppConfig


class SentinelConfig(AppConfig):
    name = "sentinel"
    label = "sentinel"
    verbose_name = "Sentinel"
