"""Who asks a port, and who of them makes room."""

from __future__ import annotations

import pytest

from helios.clients import first_to_go, whole


@pytest.mark.parametrize(
    ("found", "counts_as"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_an_address_of_ipv6_counts_by_its_network_which_one_client_has(found: str, counts_as: str) -> None:
    assert whole(found) == counts_as


@pytest.mark.parametrize(
    ("addresses", "standings", "gone"),
    [
        ("abbb", "0000", 1),
        ("abbb", "0110", 3),
        ("abab", "1111", 0),
        ("a", "2", 0),
    ],
)
def test_whoever_has_most_makes_room_the_lowest_and_oldest_first(addresses: str, standings: str, gone: int) -> None:
    assert first_to_go(dict(enumerate(addresses)), lambda place: int(standings[place])) == gone
