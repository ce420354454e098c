"""Reading one field of a JSON object: the value, or a ValueError whose one sentence names the field's path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Read = TypeVar("Read")


def wrong_type(path: str, expected: str, was: object) -> ValueError:
    """The error for a field that is not as expected; long values are cut."""
    shown = repr(was)
    return ValueError(f"{path} must be {expected}, was {shown if len(shown) <= 80 else shown[:77] + '...'}")


def path_of(path: str, key: str) -> str:
    """The path of a field of the object at `path`; the whole document is at ""."""
    return f"{path}.{key}" if path else key


def mapping(data: object, path: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(data, Mapping):
        raise wrong_type(path, "an object", data)
    return data


def text(data: Mapping[str, Any], key: str, path: str, default: str | None = None) -> str:
    """A text; a number or a boolean becomes one. Null and a missing field are `default`, or wrong without one."""
    value = data.get(key)
    if value is None:
        if default is None:
            raise ValueError(f"{path_of(path, key)} must be a text, was missing")
        return default
    return as_text(value, path_of(path, key))


def as_text(value: object, path: str) -> str:
    """The value as text: booleans and numbers as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise wrong_type(path, "a text", value)
    return value


def boolean(data: Mapping[str, Any], key: str, path: str, default: bool) -> bool:
    """True or false; null and a missing field are `default`."""
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong_type(path_of(path, key), "true or false", value)
    return value


def integer(data: Mapping[str, Any], key: str, path: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = data.get(key)
    if type(value) is not int or not low <= value <= high:
        raise wrong_type(path_of(path, key), f"a whole number from {low} to {high}", value)
    return value


def items(data: Mapping[str, Any], key: str, path: str, read: Callable[[Any, str], Read]) -> tuple[Read, ...]:
    """A list read entry by entry; null and a missing field are an empty one."""
    return read_list(data.get(key), path_of(path, key), read)


def read_list(value: object, path: str, read: Callable[[Any, str], Read]) -> tuple[Read, ...]:
    """Every entry of a list, read with its own path; null is an empty list."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise wrong_type(path, "a list", value)
    return tuple(read(entry, f"{path}[{number}]") for number, entry in enumerate(value))
