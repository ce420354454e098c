"""What can be wrong with a request to change a flag; each text is one sentence for the person who asked."""

from __future__ import annotations

from helios.errors import Conflict, NotFound, Rejected


class UnknownFlagError(NotFound):
    """No flag has this name."""


class UnknownSegmentError(NotFound):
    """No segment has this name."""


class UnknownChangeError(NotFound):
    """The history holds no such entry."""


class InvalidFlagError(Rejected):
    """The requested state breaks a rule of flags, so nothing was changed.

    `field` names the field at which it was found, so that a form can show it there; empty when it has no one place.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NameTakenError(InvalidFlagError, Conflict):
    """A new flag or segment would take the name of another."""
