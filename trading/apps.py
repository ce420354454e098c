from django.apps import AppConfig


class TradingConfig(AppConfig):
    name = "trading"
    label = "trading"
    verbose_name = "Trading"
