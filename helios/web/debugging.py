"""Django's page for an unexpected error in a debugging server: it shows local variables, but no secret."""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from helios.logs import redact


class Filter(SafeExceptionReporterFilter):
    """Hides by name what Django hides outside of debugging only, and every setting: this page is shown to anybody."""

    def get_safe_settings(self) -> dict[str, Any]:
        return {}

    def is_active(self, request: HttpRequest | None) -> bool:  # noqa: ARG002 - Django's signature
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return self._cleansed(super().get_post_parameters(request).items())

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return self._cleansed(super().get_traceback_frame_variables(request, tb_frame)).items()

    def _cleansed(self, named: Any) -> dict[str, Any]:
        return {name: self.cleanse_setting(name, value) for name, value in named}


class Reporter(ExceptionReporter):
    """What the page shows, without the secrets of this process: Django hides passwords by name, not those in URLs."""

    def get_traceback_html(self) -> SafeString:
        """The page for a browser."""
        return SafeString(redact(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        """The page for any other client."""
        return SafeString(redact(super().get_traceback_text()))
