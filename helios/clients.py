"""Who asks a port: addresses as one client has them, and who makes room where all connections are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TypeVar

Connection = TypeVar("Connection")


@lru_cache(maxsize=4_096)
def whole(found: str) -> str:
    """An address as one client has it: of IPv6 all of its /64."""
    try:
        ip = ip_address(found)
    except ValueError:
        return found
    if isinstance(ip, IPv4Address) or ip.ipv4_mapped:
        return str(getattr(ip, "ipv4_mapped", None) or ip)
    return str(IPv6Network((int(ip), 64), strict=False))


def first_to_go(addresses: Mapping[Connection, str], standing: Callable[[Connection], int] = lambda _: 0) -> Connection:
    """Of these connections, the oldest first, one of the address that has most: of the lowest standing the oldest."""
    held = Counter(addresses.values())
    most = max(held.values())
    return min((each for each, address in addresses.items() if held[address] == most), key=standing)
