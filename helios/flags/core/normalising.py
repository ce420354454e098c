"""The entries of a flag's fields as they are stored: trimmed, since one with a blank around it would never match.

Works on the plain values that the columns hold, and looks at texts only: what is no text, no list or no object is
refused by the checks of the fields. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from helios import entries
from helios.flags.core.context import ALIASES, FIELDS
from helios.flags.core.parts import Operator
from helios.flags.errors import InvalidFlagError

Note = Callable[[str, str], None]
Rule = Callable[[str], str]
Tidy = Callable[[Any, str, Note], Any]
_WHOLE: Final = (Operator.IN, Operator.NOT_IN, Operator.IN_CIDR)  # operators that take whole values


def _nobody(_path: str, _text: str) -> None:
    """Nobody wants to know."""


def normalised(field: str, value: Any, note: Note = _nobody, *, path: str = "") -> Any:
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


def _entry_or_empty(text: str) -> str:
    return entries.entry(text) if text else text


_named: Final = partial(_text, rule=_entry_or_empty)
_line: Final = partial(_text, rule=entries.line)


def _list(value: Any, path: str, note: Note, rule: Rule = entries.entry) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        return value
    return [_text(each, f"{path}[{at}]", note, rule) for at, each in enumerate(value)]


def _once(value: Any, path: str, note: Note) -> Any:
    """The same, each entry once, in their order."""
    found = _list(value, path, note)
    return list({repr(each): each for each in found}.values()) if isinstance(found, list) else found


def _objects(tidy: Tidy) -> Tidy:
    """Each object of a list; other things pass."""

    def each_of(value: Any, path: str, note: Note) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [
            tidy(each, f"{path}[{at}]", note) if isinstance(each, Mapping) else each for at, each in enumerate(value)
        ]

    return each_of


def _fields(of: Mapping[str, Tidy]) -> Tidy:
    """An object whose named fields are normalised."""

    def tidy(plain: Mapping[str, Any], path: str, note: Note) -> dict[str, Any]:
        return {key: of[key](each, f"{path}.{key}", note) if key in of else each for key, each in plain.items()}

    return tidy


def _compared(plain: Mapping[str, Any], path: str, note: Note) -> Any:
    """A constraint or an override, whose values are compared with one of the context.

    No identity holds a blank or a comma; a city may hold a comma, and a part of a text a blank at its end.
    """
    found = _fields({"contextName": _named})(plain, path, note)
    name = found.get("contextName")
    if isinstance(name, str) and ALIASES.get(name, name) in FIELDS:
        rule = _entry_or_empty
    elif found.get("operator", Operator.IN) in _WHOLE:  # an override has none
        rule = entries.line
    else:
        return found
    return _fields({"values": partial(_list, rule=rule)})(found, path, note)


def _parameters(value: Any, path: str, note: Note) -> Any:
    """Of a rule's parameters the one that names a field; `userIds` and its like are read without the blanks anyway."""
    return _fields({"stickiness": _named})(value, path, note) if isinstance(value, Mapping) else value


_COMPARED: Final = _objects(_compared)
_VARIANTS: Final = _objects(_fields({"name": _line, "stickiness": _named, "overrides": _COMPARED}))
_RULES: Final = _objects(
    _fields({"parameters": _parameters, "constraints": _COMPARED, "segments": _once, "variants": _VARIANTS}),
)
_TIDY: Final[Mapping[str, Tidy]] = {
    "whitelist": _list,
    "blacklist": _list,
    "environments": _list,
    "segments": _list,
    "stickiness": _named,
    "group_id": _named,
    "owner": _line,
    "constraints": _COMPARED,
    "prerequisites": _objects(_fields({"feature": _named, "variants": partial(_list, rule=entries.line)})),
    "rules": _RULES,
    "variants": _VARIANTS,
}
