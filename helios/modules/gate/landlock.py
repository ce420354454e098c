"""Landlock: the folders that this process and its children may read, the one they may write, and nothing beside.

It needs no privilege and no namespace. From its versions on it also keeps TCP, signals and abstract sockets inside.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

from helios.modules.gate import kernel

_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}  # by version: how many rights on files the kernel knows
_READ: Final = 0b1101  # execute, read files, list folders
_LIST: Final = 0b1000  # names only, everywhere: Python lists what surrounds the packages that it imports
_OF_FILES: Final = 0b1100_0000_0000_0111  # all of a single file's: with writing, truncating, device commands
_TCP, _TCP_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6  # abstract sockets, signals
_ASK_VERSION, _PATH_BENEATH = 1, 1


def restrict(read: Iterable[str], write: Iterable[str]) -> None:
    """Put it in force, after `PR_SET_NO_NEW_PRIVS`; places that are not there are passed over. Raises: OSError."""
    version = kernel.syscall("landlock_create_ruleset", None, 0, _ASK_VERSION)
    rights = (1 << _RIGHTS[max(each for each in _RIGHTS if each <= version)]) - 1
    handled = struct.pack("=Q", rights)
    if version >= _TCP_SINCE:
        handled += struct.pack("=Q", _TCP)
    if version >= _SCOPES_SINCE:
        handled += struct.pack("=Q", _SCOPES)
    rules = kernel.syscall("landlock_create_ruleset", handled, len(handled), 0)
    try:
        for places, allowed in ((["/"], _LIST), (read, _READ), (write, rights)):
            for place in places:
                _allow(rules, place, allowed & rights)
        kernel.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, place: str, rights: int) -> None:
    try:
        found = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        own = rights if stat.S_ISDIR(os.fstat(found).st_mode) else rights & _OF_FILES
        kernel.syscall("landlock_add_rule", rules, _PATH_BENEATH, struct.pack("=Qi", own, found), 0)
    finally:
        os.close(found)
