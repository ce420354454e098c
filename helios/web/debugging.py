"""Django's page for an unexpected error in a debugging server: it shows settings and local variables, but no secret."""

from __future__ import annotations

from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from helios.logs import redact


class Reporter(ExceptionReporter):
    """What the page shows, without the secrets of this process: Django hides passwords by name, not those in URLs."""

    def get_traceback_html(self) -> SafeString:
        """The page for a browser."""
        return SafeString(redact(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        """The page for any other client."""
        return SafeString(redact(super().get_traceback_text()))
