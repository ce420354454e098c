"""Users, tokens and periodic tasks in the look of the rest of the admin.

The packages register plain pages of their own; this app comes after them and replaces those.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django.core.validators import MaxLengthValidator
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from django_celery_beat.admin import PeriodicTaskAdmin as PlainPeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from helios.errors import Rejected
from helios.web import tokens
from helios.web.admin_base import BoundedList, ReadOnlyAdmin
from helios.web.boxes import JsonText
from helios.web.models import ApiToken


class LoginForm(AuthenticationForm):
    """As the admin's, which bounds a name in the browser alone: no account has a longer one, and nothing keeps it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        username = self.fields["username"]
        username.validators.append(MaxLengthValidator(username.max_length))


admin.site.index_title = "Start page"
admin.site.login_form = LoginForm

for _model in (
    User,
    Group,
    PeriodicTask,
    IntervalSchedule,
    CrontabSchedule,
    ClockedSchedule,  # the last two stay away: Helios runs by interval and by crontab
    SolarSchedule,
    TaskResult,
    GroupResult,
):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


@admin.register(User)
class UserAdmin(PlainUserAdmin, BoundedList):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, BoundedList):
    """Roles; membership gives their permissions."""


class _TokenForm(ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "expires_at" in data:
            try:
                tokens.check_end(data["expires_at"])
            except Rejected as error:
                self.add_error("expires_at", str(error))
        return data


@admin.register(ApiToken)
class TokenAdmin(BoundedList):
    """API tokens. A token is shown once, when it is made; the list shows whose it is, never what it is."""

    form = _TokenForm
    fields = ("user", "name", "expires_at")
    list_display = ("user", "name", "state", "made_at", "made_by", "expires_at", "used_at", "revoked_by")
    list_filter = ("user",)
    list_select_related = ("user",)
    actions = ("revoke",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        end = timezone.now() + timedelta(days=tokens.DAYS)
        return {"name": "default", "expires_at": end, **super().get_changeform_initial_data(request)}

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, _request: HttpRequest, _obj: ApiToken | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: ModelForm[ApiToken], change: bool) -> None:
        by = request.user.get_username()
        token, row, _ = tokens.make(obj.user, obj.name, expires_at=obj.expires_at, actor=by)
        obj.pk = row.pk
        self.message_user(request, f"The token of {obj.user} (shown only now): {token}", messages.WARNING)

    @admin.action(description="Revoke: these tokens open nothing any more", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        done = sum(tokens.revoke(each, actor=request.user.get_username()) for each in queryset)
        self.message_user(request, f"{done} token(s) revoked.")


class _TaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The registered tasks, as this admin draws a select."""


class _PeriodicTaskForm(PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            self.fields["task"].widget = UnfoldAdminTextInputWidget()
        if "regtask" in self.fields:
            self.fields["regtask"].widget = _TaskSelect()

    def clean(self) -> Any:
        """The package's, which looks at a task that was refused before."""
        return super().clean() if "task" in self.cleaned_data else self.cleaned_data

    def _clean_json(self, field: str) -> str:
        text: str = self.cleaned_data[field]
        JsonText(required=False).to_python(text)
        return text


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(PlainPeriodicTaskAdmin, BoundedList):
    """What beat sends and when: by interval or by crontab."""

    fieldsets = (
        (None, {"fields": ("name", "regtask", "task", "enabled", "description")}),
        (
            "Schedule",
            {"fields": ("interval", "crontab", "crontab_translation", "start_time", "last_run_at", "one_off")},
        ),
        ("Arguments", {"fields": ("args", "kwargs"), "classes": ("collapse",)}),
        ("Sending", {"fields": ("expires", "expire_seconds", "queue"), "classes": ("collapse",)}),
    )

    form = _PeriodicTaskForm
    list_display = ("name", "task", "enabled", "scheduler", "last_run_at", "total_run_count")
    list_filter = ("enabled",)
    date_hierarchy = None

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The package's actions ask for no permission; they start, stop and send what keeps the desk running."""
        return super().get_actions(request) if self.has_change_permission(request) else {}


@admin.register(IntervalSchedule, CrontabSchedule)
class ScheduleAdmin(BoundedList):
    """Rhythms that periodic tasks refer to."""


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Results of the few tasks that keep one."""

    list_display = ("task_id", "task_name", "status", "date_done", "worker")
    list_filter = ("status",)
    search_fields = ("task_id", "task_name")
