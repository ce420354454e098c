from importlib import import_module

from django.apps import AppConfig
from django.contrib.auth.signals import user_login_failed
from django.db.models.signals import post_migrate, pre_migrate


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
