"""What can be wrong with a request to change a flag; each text is one sentence for the person who asked."""

from __future__ import annotations

from helios.errors import Rejected


class UnknownFlagError(Rejected):
    """No flag has this name."""


class InvalidFlagError(Rejected):
    """The requested state breaks a rule of flags, so nothing was changed."""


class ChangedMeanwhileError(Rejected):
    """Somebody else changed the flag after it was read, so nothing was changed."""
