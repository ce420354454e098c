from importlib import import_module

from django.apps import AppConfig, apps
from django.contrib.auth.signals import user_login_failed
from django.db.models.signals import post_migrate, pre_migrate

SPOKEN = {"ts": "time", "pnl": "P&L"}


class WebConfig(AppConfig):
    name = "helios.web"
    label = "web"
    verbose_name = "Web"

    def ready(self) -> None:
        schema_check = import_module("helios.db.schema_check")
        pre_migrate.connect(schema_check.refuse_other_schema, sender=self, dispatch_uid="helios.db.schema_check")
        access = import_module("helios.web.access")
        login = import_module("helios.web.login")
        user_login_failed.connect(login.failed, dispatch_uid="helios.web.login")
        post_migrate.connect(access.keep_groups, dispatch_uid="helios.web.groups")
        _label_fields()


def _label_fields() -> None:
    """The admin says "bar time" for `bar_ts` and "findings" for `n_findings`, where a model has no words of its own."""
    for model in apps.get_models():
        for field in model._meta.local_fields:  # noqa: SLF001 - Django's own name for it
            if not field._verbose_name:  # type: ignore[attr-defined]  # noqa: SLF001 - as migrations keep it
                words = str(field.verbose_name).removeprefix("n ").split()
                field.verbose_name = " ".join(SPOKEN.get(word, word) for word in words)
