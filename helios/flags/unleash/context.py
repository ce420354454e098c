"""Unleash's context as Helios's: userId is the user, what else there is are attributes."""

from __future__ import annotations

from helios.flags.core import json_fields
from helios.flags.core.context import FlagContext

_FROM_PROPERTIES = ("symbol", "strategy", "system")


def context_from_json(data: object, path: str = "context") -> FlagContext:
    """{userId, sessionId, remoteAddress, environment, appName, currentTime, properties} as a context.

    Numbers and booleans become text, null is "not given". A field beside `properties` wins over a property of the
    same name. ValueError names the path of what is neither text nor number nor boolean.
    """
    plain = json_fields.mapping(data, path)
    properties = plain.get("properties")
    attributes = {
        **_texts({} if properties is None else properties, f"{path}.properties"),
        **_texts({name: value for name, value in plain.items() if name != "properties"}, path),
    }
    return FlagContext(
        # An attribute of that name is another thing than Unleash's userId, and is asked for as itself.
        user="" if "user" in attributes else attributes.get("userId", ""),
        environment=attributes.get("environment", ""),
        attributes=attributes,
        **{name: attributes.get(name, "") for name in _FROM_PROPERTIES},
    )


def _texts(data: object, path: str) -> dict[str, str]:
    plain = json_fields.mapping(data, path)
    return {name: json_fields.as_text(value, f"{path}.{name}") for name, value in plain.items() if value is not None}
