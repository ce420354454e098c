"""When a constraint holds: Unleash's operators, each worked out once into a test of one text.

A value that is missing or cannot be read makes the operator false, and `inverted` turns that around, as in
Unleash's client specification. A constraint with an operator that nobody knows is false either way.
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

import re2
from semver import Version

from helios import versions
from helios.flags.core.context import FlagContext, reader
from helios.flags.core.parts import Constraint, Operator

CURRENT_TIME: Final = "currentTime"  # a context without it means now
MAX_PATTERN: Final = 1_000  # letters; with re2 a match takes time in proportion to the text, whatever the pattern
MAX_CLASSES: Final = 10  # of Unicode in a pattern: a letter or two of text, and hundreds of ranges to read
PATTERN_BYTES: Final = 65_536  # of memory for what a pattern compiles to, and for what a match of it makes
KEPT_PATTERNS: Final = 256  # compiled: the same ones are read again with each generation
MAX_VERSION: Final = 256  # letters; Python refuses to read numbers of thousands of digits
KEPT_MATCHES: Final = 256  # answers of a pattern for the last texts: symbols come again and again
Holds = Callable[[str], bool]
Test = Callable[[FlagContext, datetime], bool]
Network = IPv4Network | IPv6Network
Networks = Mapping[tuple[int, int], set[int]]  # by version and bits of a host: what stands before these bits

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")  # one way to read each digit
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)", re.ASCII)


def compile_constraint(constraint: Constraint, here: str = "") -> Test:
    """The constraint as a test of a context.

    `now` is what a missing currentTime stands for, and `here` what a missing environment does.
    """
    if constraint.operator not in _BUILD:
        return _never
    holds, inverted = constraint.holds or _BUILD[Operator(constraint.operator)](constraint), constraint.inverted
    object.__setattr__(constraint, "holds", holds)  # the next snapshot has the same constraint, where nobody changed it
    read, missing = reader(constraint.context_name), _of_missing(constraint)
    if here and constraint.context_name == "environment":
        missing = holds(here) is not inverted
    if is_timed(constraint):
        return _timed_test(read, _DATES[Operator(constraint.operator)], constraint)

    def test(context: FlagContext, _now: datetime) -> bool:
        value = read(context)
        return missing if value is None else holds(value) is not inverted

    return test


def is_timed(constraint: Constraint) -> bool:
    """Whether the constraint may have to know what time it is."""
    return constraint.context_name == CURRENT_TIME and constraint.operator in _DATES


def problem(constraint: Constraint) -> str:
    """What is wrong with it, as `field must be ..., was ...`; empty when it can hold for somebody."""
    if not constraint.context_name:
        return "contextName must name a field of the context, was empty"
    if constraint.operator not in _BUILD:
        return f"operator must be one of {', '.join(Operator)}, was {constraint.operator!r}"
    kind = Operator(constraint.operator)
    if kind in _OF_ONE:
        expected, read = _OF_ONE[kind]
        return "" if read(constraint.value) is not None else f"value must be {expected}, was {constraint.value!r}"
    if kind is Operator.REGEX and _pattern_of(constraint) is None:
        return f"value must be {_PATTERN}, was {constraint.value!r}"
    if kind is Operator.IN_CIDR:
        wrong = next((each for each in constraint.values if parse_network(each) is None), None)
        return "" if wrong is None else f"values must be networks such as 10.0.0.0/8, one was {wrong!r}"
    return ""


def parse_number(text: str) -> float | None:
    """A decimal number such as -1, 2.50 or 1e3; None for anything else."""
    stripped = text.strip()
    return float(stripped) if _NUMBER.fullmatch(stripped) else None


def parse_moment(text: str) -> datetime | None:
    """A moment as in RFC 3339, with its zone; None for anything else."""
    stripped = text.strip()
    if not _MOMENT.fullmatch(stripped):
        return None
    try:
        return datetime.fromisoformat(stripped.upper())
    except ValueError:  # the 30th of February
        return None


def parse_semver(text: str) -> Version | None:
    """A version by semver.org; build metadata does not count. Else None."""
    try:
        return versions.parse(text) if len(text) <= MAX_VERSION else None
    except ValueError:
        return None


def parse_network(text: str) -> Network | None:
    """An address or a network in CIDR notation, host bits allowed; None for anything else."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def parse_networks(texts: Iterable[str]) -> Networks:
    """The networks among the texts, so that an address is looked up once for each length of their prefixes."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    for text in texts:
        network = parse_network(text)
        if network is not None:
            host_bits = network.max_prefixlen - network.prefixlen
            found[network.version, host_bits].add(int(network.network_address) >> host_bits)
    return found


def in_networks(networks: Networks, text: str) -> bool:
    """Whether the text is an address inside one of the networks."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    number, own = int(address), address.version
    return any(version == own and number >> bits in prefixes for (version, bits), prefixes in networks.items())


@lru_cache(maxsize=KEPT_PATTERNS)
def parse_pattern(pattern: str, *, ignore_case: bool = False) -> Any | None:
    """The pattern in RE2's language, which knows no construct that takes exponential time; None when it is none.

    One that would take long to compile, or much memory once compiled, is none either.
    """
    if len(pattern) > MAX_PATTERN or pattern.count("\\p") + pattern.count("\\P") > MAX_CLASSES:
        return None
    options = re2.Options()
    options.log_errors, options.never_capture, options.max_mem = False, True, PATTERN_BYTES
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError):
        return None


def _pattern_of(constraint: Constraint) -> Any | None:
    """An empty pattern matches whatever is given; who sends one has most likely forgotten it."""
    return parse_pattern(constraint.value, ignore_case=constraint.case_insensitive) if constraint.value else None


def _never(_context: FlagContext, _now: datetime) -> bool:
    return False


def _of_missing(constraint: Constraint) -> bool:
    """The answer for a context without the value: it is in no list, and no comparison holds."""
    return (constraint.operator == Operator.NOT_IN) is not constraint.inverted


def _timed_test(
    read: Callable[[FlagContext], str | None], compare: Callable[[Any, Any], bool], constraint: Constraint
) -> Test:
    limit, inverted = parse_moment(constraint.value), constraint.inverted

    def test(context: FlagContext, now: datetime) -> bool:
        value = read(context)
        moment = now if value is None else parse_moment(value)
        return (limit is not None and moment is not None and compare(moment, limit)) is not inverted

    return test


def _in(constraint: Constraint) -> Holds:
    return frozenset(constraint.values).__contains__


def _not_in(constraint: Constraint) -> Holds:
    values = frozenset(constraint.values)
    return lambda value: value not in values


def _of_text(method: Callable[[str, tuple[str, ...]], bool]) -> Callable[[Constraint], Holds]:
    """`method` takes several texts at once, as str.startswith and str.endswith do."""

    def build(constraint: Constraint) -> Holds:
        if not constraint.case_insensitive:
            values = constraint.values
            return lambda value: method(value, values)
        folded = tuple(each.lower() for each in constraint.values)
        return lambda value: method(value.lower(), folded)

    return build


def _contains(value: str, parts: tuple[str, ...]) -> bool:
    return any(each in value for each in parts)


def _compared(read: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Callable[[Constraint], Holds]:
    """Both sides read by `read`; what cannot be read compares as false."""

    def build(constraint: Constraint) -> Holds:
        limit = read(constraint.value.strip())
        if limit is None:
            return lambda _value: False

        def holds(value: str) -> bool:
            seen = read(value)
            return seen is not None and compare(seen, limit)

        return holds

    return build


def _regex(constraint: Constraint) -> Holds:
    pattern = parse_pattern(constraint.value, ignore_case=constraint.case_insensitive)
    if pattern is None:
        return lambda _value: False

    @lru_cache(maxsize=KEPT_MATCHES)
    def holds(value: str) -> bool:
        try:
            return pattern.search(value) is not None
        except UnicodeError:  # half of a surrogate pair: no text, so nothing in it matches
            return False

    return holds


def _in_cidr(constraint: Constraint) -> Holds:
    networks = parse_networks(constraint.values)
    return lambda value: in_networks(networks, value)


_DATES: Mapping[str, Callable[[Any, Any], bool]] = {
    Operator.DATE_AFTER: operator.gt,
    Operator.DATE_BEFORE: operator.lt,
}
_NUMBERS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.NUM_EQ: operator.eq,
    Operator.NUM_GT: operator.gt,
    Operator.NUM_GTE: operator.ge,
    Operator.NUM_LT: operator.lt,
    Operator.NUM_LTE: operator.le,
}
_VERSIONS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.SEMVER_EQ: operator.eq,
    Operator.SEMVER_GT: operator.gt,
    Operator.SEMVER_GTE: operator.ge,
    Operator.SEMVER_LT: operator.lt,
    Operator.SEMVER_LTE: operator.le,
}
_BUILD: Mapping[str, Callable[[Constraint], Holds]] = {
    Operator.IN: _in,
    Operator.NOT_IN: _not_in,
    Operator.STR_STARTS_WITH: _of_text(str.startswith),
    Operator.STR_ENDS_WITH: _of_text(str.endswith),
    Operator.STR_CONTAINS: _of_text(_contains),
    **{name: _compared(parse_number, compare) for name, compare in _NUMBERS.items()},
    **{name: _compared(parse_moment, compare) for name, compare in _DATES.items()},
    **{name: _compared(parse_semver, compare) for name, compare in _VERSIONS.items()},
    Operator.REGEX: _regex,
    Operator.IN_CIDR: _in_cidr,
}
_OF_ONE: Mapping[str, tuple[str, Callable[[str], Any]]] = {  # operators that compare with `value`
    **dict.fromkeys(_NUMBERS, ("a number", parse_number)),
    **dict.fromkeys(_DATES, ("a moment in RFC 3339 with a zone", parse_moment)),
    **dict.fromkeys(_VERSIONS, ("a version by semver.org", lambda text: parse_semver(text.strip()))),
}
_PATTERN: Final = (
    f"a pattern of RE2 of at most {PATTERN_BYTES} bytes once compiled, with at most {MAX_CLASSES} classes such as \\pL "
    f"and 1 to {MAX_PATTERN} letters"
)
