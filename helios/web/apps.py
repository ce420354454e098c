from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class WebConfig(AppConfig):
    name = "helios.web"
    label = "web"
    verbose_name = "Web"

    def ready(self) -> None:
        schema_check = import_module("helios.db.schema_check")
        pre_migrate.connect(schema_check.refuse_other_schema, sender=self, dispatch_uid="helios.db.schema_check")
        access = import_module("helios.web.access")
        post_migrate.connect(access.keep_groups, dispatch_uid="helios.web.groups")
