"""The entries of a flag's fields as they are stored: trimmed, since one with a blank around it would never match.

Works on the plain values that the columns hold, and looks at texts only: what is no text, no list or no object is
refused by the checks of the fields. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from helios import entries
from helios.flags.context import ALIASES, FIELDS
from helios.flags.errors import InvalidFlagError
from helios.flags.parts import Operator

Note = Callable[[str, str], None]
Rule = Callable[[str], str]
_LISTED: Final = frozenset({Operator.IN, Operator.NOT_IN, Operator.IN_CIDR})  # operators that take whole values


def _nobody(_path: str, _text: str) -> None:
    """Nobody wants to know."""


def tidied(field: str, value: Any, note: Note = _nobody, *, path: str = "") -> Any:
    """The value of a flag's or a segment's field with its entries trimmed; `note` hears the path of each that was not.

    Raises `InvalidFlagError`, one sentence with the path, for one that is blank, or holds a comma or an unseen letter.
    """
    tidy = _TIDY.get(field)
    return tidy(value, path or field, note) if tidy else value


def _text(value: Any, path: str, note: Note, rule: Rule) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = rule(value)
    except ValueError as error:
        raise InvalidFlagError(f"{path} {error}", path.partition("[")[0]) from error
    if found != value:
        note(path, value)
    return found


def _named(value: Any, path: str, note: Note) -> Any:
    """A text that names one thing, or none."""
    return _text(value, path, note, _entry_or_empty)


def _line(value: Any, path: str, note: Note) -> Any:
    return _text(value, path, note, entries.line)


def _entry_or_empty(text: str) -> str:
    return entries.entry(text) if text else text


def _list(value: Any, path: str, note: Note, rule: Rule = entries.entry) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        return value
    return [_text(each, f"{path}[{at}]", note, rule) for at, each in enumerate(value)]


def _objects(tidy: Callable[[Mapping[str, Any], str, Note], Any]) -> Callable[[Any, str, Note], Any]:
    """Each object of a list; other things pass."""

    def each_of(value: Any, path: str, note: Note) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [
            tidy(each, f"{path}[{at}]", note) if isinstance(each, Mapping) else each for at, each in enumerate(value)
        ]

    return each_of


def _fields(of: Mapping[str, Callable[[Any, str, Note], Any]]) -> Callable[[Mapping[str, Any], str, Note], Any]:
    """An object whose named fields are tidied."""

    def tidy(plain: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
        return {key: of[key](each, f"{path}.{key}", note) if key in of else each for key, each in plain.items()}

    return tidy


def _values(name: Any, values: Any, path: str, note: Note, *, whole: bool = True) -> Any:
    """Values to compare with a value of the context. No identity holds a blank or a comma; a city may hold a comma."""
    if ALIASES.get(name, name) in FIELDS:
        return _list(values, path, note, _entry_or_empty)
    return _list(values, path, note, entries.line) if whole else values


def _constraint(plain: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
    named: dict[str, Any] = _fields({"contextName": _named})(plain, path, note)
    if "values" in named:
        whole = named.get("operator") in _LISTED
        named["values"] = _values(named.get("contextName"), named["values"], f"{path}.values", note, whole=whole)
    return named


def _override(plain: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
    named: dict[str, Any] = _fields({"contextName": _named})(plain, path, note)
    if "values" in named:
        named["values"] = _values(named.get("contextName"), named["values"], f"{path}.values", note)
    return named


def _parameters(value: Any, path: str, note: Note) -> Any:
    """Of a rule's parameters the one that names a field; `userIds` and its like are read without the blanks anyway."""
    return _fields({"stickiness": _named})(value, path, note) if isinstance(value, Mapping) else value


_CONSTRAINTS: Final = _objects(_constraint)
_VARIANTS: Final = _objects(
    _fields({"name": _line, "stickiness": _named, "overrides": _objects(_override)}),
)
_RULES: Final = _objects(
    _fields({"parameters": _parameters, "constraints": _CONSTRAINTS, "segments": _list, "variants": _VARIANTS}),
)
_LINES: Final = lambda value, path, note: _list(value, path, note, entries.line)  # noqa: E731 - names of variants
_TIDY: Final[Mapping[str, Callable[[Any, str, Note], Any]]] = {
    "whitelist": _list,
    "blacklist": _list,
    "environments": _list,
    "segments": _list,
    "stickiness": _named,
    "group_id": _named,
    "owner": _line,
    "constraints": _CONSTRAINTS,
    "prerequisites": _objects(_fields({"feature": _named, "variants": _LINES})),
    "rules": _RULES,
    "variants": _VARIANTS,
}
