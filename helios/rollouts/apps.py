from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "helios.rollouts"
    label = "rollouts"
    verbose_name = "Rollouts"

    def ready(self) -> None:
        from helios.modules import swap_worker  # noqa: PLC0415 - models load after the apps
        from helios.rollouts import selectors  # noqa: PLC0415

        swap_worker.also_load(selectors.challengers)
