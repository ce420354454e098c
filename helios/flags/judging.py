"""What a flag or a segment may cost those who read it, judged before anything of it is compiled or locked.

Every process reads and compiles all of them with each generation, and a kill waits for the lock of a change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from django.db import connection

from helios.control import bounds
from helios.flags.core.json_fields import read_list
from helios.flags.core.parts import Operator
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment, State
from helios.flags.reader import PARTS
from helios.flags.references import names, objects

_KILLED: Final = ("enabled", "strategy", "resume_strategy")
_ALL: Final = " UNION ALL ".join(
    f"SELECT to_jsonb(held) AS held FROM {model._meta.db_table} AS held"  # noqa: S608, SLF001 - no input
    for model in (FeatureFlag, FlagSegment)
)
_LISTED: Final = ("whitelist", "blacklist", "variants")
_IDENTITIES: Final = 4  # on which a list is matched
_WAYS: Final = 7  # to stick, the last of them by chance
_TOLD: Final = f"""
    {_IDENTITIES} * CASE WHEN jsonb_array_length(held->'variants') > 0 THEN {_WAYS} ELSE 1 END
    * ({" + ".join(f"octet_length((held->'{name}')::text)" for name in _LISTED)})
    + {_WAYS} * octet_length((held->'rules')::text)
"""
_TOTALS: Final = f"""
    SELECT coalesce(sum(octet_length(held::text)), 0),
        coalesce(sum(jsonb_array_length(jsonb_path_query_array(held, 'strict $.** ? (@.operator == "REGEX")'))), 0),
        coalesce(sum(jsonb_array_length(jsonb_path_query_array(held, 'lax $.rules[*]'))), 0),
        coalesce(sum({_TOLD}), 0)
    FROM ({_ALL}) AS every
"""  # noqa: S608 - no input


def size(values: Mapping[str, Any]) -> int:
    """In bytes as JSON, without what a kill changes: that is never refused."""
    held = {name: value for name, value in values.items() if name not in _KILLED}
    return len(json.dumps(held, default=str, skipkeys=True))


def n_patterns(values: Mapping[str, Any]) -> int:
    """How many patterns are to be compiled."""
    held = [values, *objects(values.get("rules"))]
    return sum(each.get("operator") == Operator.REGEX for part in held for each in objects(part.get("constraints")))


def n_told(values: Mapping[str, Any]) -> int:
    """How many bytes of it an SDK is told, about: lists and variants, and each rule, once for each way to stick."""
    sizes = {name: len(json.dumps(values.get(name) or [], default=str)) for name in (*_LISTED, "rules")}
    ways = _WAYS if values.get("variants") else 1
    return _IDENTITIES * ways * sum(sizes[name] for name in _LISTED) + _WAYS * sizes["rules"]


def n_rules(values: Mapping[str, Any]) -> int:
    """How many rules it has."""
    return len(objects(values.get("rules")))


def n_segments(values: Mapping[str, Any]) -> int:
    """How often the flag and its rules name segments."""
    return sum(len(names(part.get("segments"))) for part in [values, *objects(values.get("rules"))])


_COUNTS: Final = (
    (size, "FLAG_BYTES", "bytes as JSON", ""),
    (n_patterns, "FLAG_PATTERNS", "patterns", ""),
    (n_rules, "FLAG_RULES", "rules", "rules"),
    (n_told, "FLAG_TOLD", "bytes to be told to SDKs", ""),
    (n_segments, "FLAG_SEGMENTS", "names of segments", ""),
)


def check_cost(name: str, values: Mapping[str, Any], before: State | None = None) -> None:
    """Raise `InvalidFlagError` where it is more than one may be; one that was more before the bound may stay so."""
    for count, bound, what, field in _COUNTS:
        limit, number = getattr(bounds, bound), count(values)
        if number > max(limit, count(before) if before else 0):
            raise InvalidFlagError(f"a flag or a segment must have at most {limit} {what}, {name} had {number}", field)


def grew(before: State | None, after: State) -> bool:
    """Whether all flags and segments together are more after the change."""
    return before is None or any(count(after) > count(before) for count, *_ in _COUNTS)


def check_all() -> None:
    """Raise `InvalidFlagError` where all flags and segments together are more than they may be."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS)
        totals = cursor.fetchone()
    limits = {
        "bytes as JSON": bounds.ALL_BYTES,
        "patterns": bounds.PATTERNS,
        "rules": bounds.RULES,
        "bytes to be told to SDKs": bounds.TOLD,
    }
    for number, (what, limit) in zip(totals, limits.items(), strict=True):
        if number > limit:
            raise InvalidFlagError(f"flags and segments must have at most {limit} {what} together, would have {number}")


def check_parts(values: Mapping[str, Any]) -> None:
    """Raise `InvalidFlagError` where a list of objects cannot be read as what it is."""
    for field, read in PARTS.items():
        try:
            read_list(values.get(field), field, read)
        except ValueError as error:
            raise InvalidFlagError(str(error), field) from error
