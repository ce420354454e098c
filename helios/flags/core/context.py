"""For whom a flag is asked: the fields that Helios knows, and any attribute beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

IDENTITIES: Final = ("symbol", "user", "strategy", "system")  # in the order in which they serve as sticky id
FIELDS: Final = frozenset({*IDENTITIES, "environment"})
ALIASES: Final[Mapping[str, str]] = MappingProxyType({"userId": "user"})  # Unleash's name -> the field here
_NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagContext:
    """For whom a flag is asked; an empty text in a field means "not given". Its attributes stay as they are.

    What Unleash calls userId is `user`; its sessionId, remoteAddress, appName and currentTime are attributes.
    An attribute that is no text is read as one: 12 as "12", True as "true", a moment in ISO 8601, None as not given.
    """

    symbol: str = ""
    strategy: str = ""
    user: str = ""
    system: str = ""
    environment: str = ""
    attributes: Mapping[str, Any] = field(default_factory=lambda: _NO_ATTRIBUTES)

    def value(self, name: str) -> str:
        """The field or attribute called `name`, or an empty text."""
        return reader(name)(self) or ""


NOBODY: Final = FlagContext()
Read = Callable[[FlagContext], "str | None"]


def reader(name: str) -> Read:
    """How to read `name` from a context, worked out once; None means that the context does not give it.

    A field that is empty falls back on the attribute of the same name.
    """
    own, given = ALIASES.get(name, name), _attribute(name)
    return _OF_FIELD[own](given) if own in FIELDS else given


def _attribute(name: str) -> Read:
    def read(context: FlagContext) -> str | None:
        value = context.attributes.get(name)
        return value if value is None or type(value) is str else as_text(value)

    return read


def as_text(value: object) -> str:
    """A value that is no text as Unleash's SDKs send it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


# One lambda a field: reading a slot by its name in the code takes a third of the time of getattr by a variable.
_OF_FIELD: Mapping[str, Callable[[Read], Read]] = {
    "user": lambda given: lambda context: context.user or given(context),
    "symbol": lambda given: lambda context: context.symbol or given(context),
    "strategy": lambda given: lambda context: context.strategy or given(context),
    "system": lambda given: lambda context: context.system or given(context),
    "environment": lambda given: lambda context: context.environment or given(context),
}
