"""What may go wrong with a module."""

from helios.errors import Rejected


class ModuleRefused(Rejected):
    """The request contradicts the rules of the registry; nothing was changed."""


class UnknownModule(Rejected):
    """No module of that name is registered."""


class ModuleNotActive(Rejected):
    """The module is registered, but not in use."""


class ModuleLoadFailed(Rejected):
    """The module's code could not be imported, or is not what was registered."""
