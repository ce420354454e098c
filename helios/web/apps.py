from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class WebConfig(AppConfig):
    name = "helios.web"
    label = "web"
    verbose_name = "Web"

    def ready(self) -> None:
        earlier = import_module("helios.db.earlier")
        pre_migrate.connect(earlier.refuse, sender=self, dispatch_uid="helios.db.earlier")
        access = import_module("helios.web.access")
        post_migrate.connect(access.keep_groups, dispatch_uid="helios.web.groups")
