from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "helios.events"
    label = "events"
    verbose_name = "Events"
