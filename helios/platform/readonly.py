"""Admin base for tables that people read and only services write."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Lists and shows rows; nothing is added, changed or deleted by hand.

    `show_full_result_count` is off: large tables are not counted twice a page.
    """

    show_full_result_count = False
    list_per_page = 50
    actions_on_top = True

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
