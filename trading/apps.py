from importlib import import_module

from django.apps import AppConfig


class TradingConfig(AppConfig):
    name = "trading"
    label = "trading"
    verbose_name = "Trading"

    def ready(self) -> None:
        import_module("helios.web.roles").add(import_module("trading.api.policy").POLICY)
