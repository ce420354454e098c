from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from helios.events.models import SystemEvent
from helios.web.admin_base import ReadOnlyAdmin


@admin.register(SystemEvent)
class SystemEventAdmin(ReadOnlyAdmin):
    """The platform's diary: read, filtered, never edited."""

    list_display = ("ts", "severity_label", "kind", "subject", "source")
    list_filter = ("severity", "source", "ts")
    search_fields = ("kind", "subject", "source")

    @display(
        description="Severity",
        ordering="severity",
        label={"info": "info", "warning": "warning", "critical": "danger"},
    )
    def severity_label(self, event: SystemEvent) -> str:
        return event.severity

    def get_sortable_by(self, _request: HttpRequest) -> tuple[str, ...]:
        return ("ts", "kind")
