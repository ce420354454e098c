"""What may go wrong with a module."""

from __future__ import annotations

from helios.errors import Conflict, HeliosError, NotFound, Rejected, error_text


class ModuleRefused(Rejected):
    """The request contradicts the rules of the registry; nothing was changed."""


class UnknownModule(NotFound):
    """No module, or no version of it, has that name."""


class SeveralVersions(Conflict, ModuleRefused):
    """More than one registration has that version: whoever decides names the one that they saw."""


class AlreadyTested(Conflict, ModuleRefused):
    """A registration would change what a version passed its tests with, or how its slot may be changed."""


class UnknownJob(NotFound):
    """No job has that number."""


class ModuleNotActive(Rejected):
    """The module is registered, but not in use."""


class ModuleLoadFailed(Rejected):
    """The module's code could not be imported, or is not what was registered."""


class InUse(Conflict, ModuleRefused):
    """Another version is in use than whoever decides saw."""


class SwapRunning(Conflict, ModuleRefused):
    """Another swap of the same module is on its way."""


class SwapFailed(Rejected):
    """A swap ended before the switch: every process goes on with the version it had. The swap's row says the same."""


class WatchedCallFailed(HeliosError):  # noqa: N818
    """A module that was just switched in failed in one of its first calls; run the call with the one before it."""

    def __init__(self, name: str, label: str, cause: BaseException) -> None:
        super().__init__(f"module {name} {label} failed in a watched call: {error_text(cause)}")
        self.name, self.label = name, label


class RolledBackMeanwhile(WatchedCallFailed):
    """A version came to nothing in a try and has left its slot by a roll-back before the next one."""

    def __init__(self, name: str, label: str) -> None:
        HeliosError.__init__(self, f"module {name} {label} was rolled back since an earlier try")
        self.name, self.label = name, label


class WatchedCallDelayed(WatchedCallFailed):
    """It may succeed when it is made again: `watch.failed` is told once whoever makes it again gives that up."""

    def __init__(self, name: str, label: str, cause: BaseException, swap_id: int) -> None:
        super().__init__(name, label, cause)
        self.swap_id = swap_id
