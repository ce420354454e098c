"""Users, tokens and periodic tasks in the look of the rest of the admin.

The packages register plain pages of their own; this app comes after them and replaces those.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django.forms import ModelForm
from django.http import HttpRequest
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
from rest_framework.authtoken.admin import TokenAdmin as PlainTokenAdmin
from rest_framework.authtoken.models import TokenProxy
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from helios.web.admin_base import ReadOnlyAdmin

admin.site.index_title = "Start page"

for _model in (
    User,
    Group,
    TokenProxy,
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
class UserAdmin(PlainUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, ModelAdmin):
    """Roles; membership gives their permissions."""


@admin.register(TokenProxy)
class TokenAdmin(PlainTokenAdmin, ModelAdmin):
    """API tokens. A key is shown once, when it is made; the list shows whose it is, never what it is."""

    list_display = ("user", "created")

    def save_model(self, request: HttpRequest, obj: TokenProxy, form: ModelForm[TokenProxy], change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            self.message_user(request, f"The token of {obj.user} (shown only now): {obj.key}", messages.WARNING)


class _TaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The registered tasks, as this admin draws a select."""


class _PeriodicTaskForm(PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            self.fields["task"].widget = UnfoldAdminTextInputWidget()
        if "regtask" in self.fields:
            self.fields["regtask"].widget = _TaskSelect()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(PlainPeriodicTaskAdmin, ModelAdmin):
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


@admin.register(IntervalSchedule, CrontabSchedule)
class ScheduleAdmin(ModelAdmin):
    """Rhythms that periodic tasks refer to."""


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Results of the few tasks that keep one."""

    list_display = ("task_id", "task_name", "status", "date_done", "worker")
    list_filter = ("status",)
    search_fields = ("task_id", "task_name")
