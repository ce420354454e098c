from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action, display

from helios.events.models import PoisonMessage, SystemEvent
from helios.web.access import missing
from helios.web.admin_base import ReadOnlyAdmin
from helios.web.roles import Role


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


@admin.register(PoisonMessage)
class PoisonMessageAdmin(ReadOnlyAdmin):
    """Events that a group of consumers could not take in: looked at, and given back once their cause is mended."""

    list_display = ("set_aside_at", "topic", "group", "entry", "state", "fault")
    list_filter = ("state", "topic", "group")
    search_fields = ("entry", "fault")
    actions = ("give_back",)

    def has_give_back_permission(self, request: HttpRequest) -> bool:
        """What changes what runs is an operator's."""
        return not missing(request.user, Role.OPERATOR)

    @action(description="Give back to their group", permissions=("give_back",))
    def give_back(self, request: HttpRequest, queryset: QuerySet[PoisonMessage]) -> None:
        n = queryset.filter(state=PoisonMessage.State.ASIDE).update(state=PoisonMessage.State.AGAIN)
        self.message_user(request, f"{n} given back: their group takes them in its next step.")
