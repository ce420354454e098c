from importlib import import_module

from django.apps import AppConfig, apps


class HeliosConfig(AppConfig):
    name = "helios"

    def ready(self) -> None:
        import_module("helios.db.text").install()
        import_module("helios.errors").redact_with(import_module("helios.logs").redact)
        import_module("helios.system_checks")
        import_module("helios.web.roles").add(import_module("helios.api.policy").POLICY)
        if apps.is_installed("django_celery_beat"):  # else this process sends none
            import_module("helios.celery")  # tasks that this process sends go to our broker
