"""The event bus: typed events in order, to each group once, again from any place, and none that holds up the others."""

from __future__ import annotations

from typing import ClassVar

import pytest
import redis
from django.db import ProgrammingError, connection
from django.test import Client

from helios.db.lengths import LONG
from helios.errors import DataError, Transient
from helios.events import bus as bus_room
from helios.events import consumer
from helios.events.bus import Bus, Event, key
from helios.events.consumer import PATIENCE, Consumer
from helios.events.models import PoisonMessage
from helios.redis_client import connect
from helios.stack.endpoints import WORKER

pytestmark = pytest.mark.django_db


class Shout(Event):
    topic: ClassVar[str] = "shout"
    word: str
    n: int = 0


@pytest.fixture
def bus(clean_redis: redis.Redis) -> Bus:
    return Bus(clean_redis, [Shout])


def member(bus: Bus, name: str, heard: list[Event], *, group: str = "people", fails: str = "") -> Consumer:
    def handle(event: Event) -> None:
        if fails and event.word == fails:
            raise RuntimeError(f"cannot hear {fails}\0")
        heard.append(event)

    made = Consumer(bus=bus, group=group, name=name, topics=["shout"], handle=handle, idle_ms=0)
    made.join()
    return made


def drained(consumer: Consumer) -> int:
    """Steps until nothing is left; how many were done."""
    n = 0
    while (done := consumer.step(wait_ms=1)) or consumer.bus.client.xpending(key("shout"), consumer.group)["pending"]:
        n += done
    return n


def shouts(*words: str) -> list[Event]:
    return [Shout(word=word, n=n) for n, word in enumerate(words)]


def test_events_are_read_in_order_from_any_place_as_often_as_one_asks(bus: Bus) -> None:
    bus.publish(shouts("a", "b", "c"))
    entries = bus.read("shout")
    assert [entry.event for entry in entries] == shouts("a", "b", "c")
    assert [entry.event for entry in bus.read("shout", entries[0].id)] == shouts("a", "b", "c")[1:]
    assert [entry.event for entry in bus.read("shout", n=1)] == shouts("a")


def test_each_group_has_every_event_and_its_members_share_them(bus: Bus) -> None:
    bus.publish(shouts(*"abcd"))
    heard, others = list[Event](), list[Event]()
    ann, bob = member(bus, "ann", heard), member(bus, "bob", heard)
    assert ann.step(wait_ms=1) + bob.step(wait_ms=1) == 4
    assert heard == shouts(*"abcd")
    assert drained(member(bus, "eve", others, group="others")) == 4
    assert others == shouts(*"abcd")
    bus.publish(shouts("e"))
    assert drained(bob) == 1
    assert drained(ann) == 0


def test_what_a_member_took_and_died_over_is_done_by_another(bus: Bus) -> None:
    bus.publish(shouts("a"))
    heard = list[Event]()
    member(bus, "ann", heard)
    taken = bus.client.xreadgroup("people", "ann", {key("shout"): ">"})
    assert len(taken) == 1
    assert drained(member(bus, "bob", heard)) == 1
    assert heard == shouts("a")


def test_an_event_that_always_fails_is_set_aside_and_holds_up_no_other(bus: Bus) -> None:
    bus.publish(shouts("a", "b", "c"))
    heard = list[Event]()
    ann = member(bus, "ann", heard, fails="b")
    assert drained(ann) == 3
    assert heard == [Shout(word="a", n=0), Shout(word="c", n=2)]
    row = PoisonMessage.objects.get()
    assert (row.topic, row.group, row.state, row.fault) == (
        "shout",
        "people",
        "aside",
        "RuntimeError: cannot hear b\N{REPLACEMENT CHARACTER}",
    )
    assert '"word":"b"' in row.body
    assert bus.client.xpending(key("shout"), "people")["pending"] == 0


def test_what_is_no_event_is_set_aside_at_once_with_a_sentence(bus: Bus) -> None:
    for body in (b"{", b'{"word":1}', b'{"n":2}', b"\xff\0"):
        bus.client.xadd(key("shout"), {"body": body})
    bus.client.xadd(key("shout"), {"other": "a"})
    bus.publish(shouts("a"))
    heard = list[Event]()
    assert member(bus, "ann", heard).step(wait_ms=1) == 6
    assert heard == shouts("a")
    faults = list(PoisonMessage.objects.order_by("pk").values_list("fault", flat=True))
    assert len(faults) == 5
    assert faults[1] == "must be an event of shout, was not: word: Input should be a valid string"
    assert [entry.event is None for entry in bus.read("shout")] == [True] * 5 + [False]


def test_what_was_set_aside_is_given_back_in_the_admin(bus: Bus, admin_client: Client) -> None:
    bus.publish(shouts("b"))
    heard = list[Event]()
    drained(member(bus, "ann", heard, fails="b"))
    page = admin_client.get("/admin/events/poisonmessage/")
    assert "cannot hear b" in page.content.decode()
    chosen = {"action": "give_back", "_selected_action": [PoisonMessage.objects.get().pk], "reason": "mended"}
    assert admin_client.post("/admin/events/poisonmessage/", chosen).status_code == 302
    assert member(bus, "ann", heard, fails="b").step(wait_ms=1) == 1
    assert PoisonMessage.objects.get().state == "aside"  # not mended after all
    PoisonMessage.objects.update(state="again")
    assert member(bus, "bob", heard).step(wait_ms=1) == 1
    assert heard == shouts("b")
    assert PoisonMessage.objects.get().state == "done"
    assert member(bus, "bob", heard).step(wait_ms=1) == 0


def test_an_event_that_kills_who_takes_it_is_set_aside(bus: Bus) -> None:
    bus.publish(shouts("a", "b"))
    heard = list[Event]()

    def die(event: Event) -> None:
        if event.word == "a":
            raise SystemExit
        heard.append(event)

    deaths = 0
    for number in range(9):
        member(bus, f"m{number}", heard)
        one = Consumer(bus=bus, group="people", name=f"m{number}", topics=["shout"], handle=die, idle_ms=0)
        try:
            drained(one)
        except SystemExit:
            deaths += 1
    assert deaths == PATIENCE
    assert heard == [Shout(word="b", n=1)]
    assert PoisonMessage.objects.get().fault == f"was begun {PATIENCE} times, and done by nobody"


def test_a_bus_that_has_lost_everything_gets_its_groups_anew(bus: Bus) -> None:
    heard = list[Event]()
    ann = member(bus, "ann", heard)
    bus.client.flushdb()
    bus.publish(shouts("a"))
    assert ann.step(wait_ms=1) == 0
    assert drained(ann) == 1
    assert heard == shouts("a")


def test_what_was_given_back_goes_to_one_member_and_comes_back_whole(bus: Bus) -> None:
    long = "x" * 50_000
    bus.publish(shouts(long))
    heard = list[Event]()
    drained(member(bus, "ann", heard, fails=long))
    PoisonMessage.objects.update(state="again")
    ann, bob = member(bus, "ann", heard), member(bus, "bob", heard)
    taken = ann._given_back()
    assert [entry.event for entry in taken] == shouts(long)
    assert bob._given_back() == []
    assert PoisonMessage.objects.get().state == "aside"  # until it is done
    assert ann._do(taken[0], last=True)
    assert PoisonMessage.objects.get().state == "done"


def test_only_the_marks_that_are_asked_for_are_read(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers reach them, too, and may leave any number there."""
    bus.publish([], marks={"book": "7", "another": "x" * 1_000_000})
    real, answers = bus.client.execute_command, list[object]()
    monkeypatch.setattr(
        bus.client, "execute_command", lambda *args, **options: answers.append(real(*args, **options)) or answers[-1]
    )
    assert bus.marks(["book", "none"]) == ["7", ""]
    assert answers == [[b"7", None]]


def test_an_event_that_is_too_long_is_left_out_and_holds_up_no_other(bus: Bus) -> None:
    bus.publish(shouts("a", "b" * bus_room.LONGEST, "c"), marks={"book": "3"})
    assert [entry.event.word for entry in bus.read("shout") if entry.event] == ["a", "c"]
    assert bus.marks(["book"]) == ["3"]


def test_a_stream_keeps_its_newest_events(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_room, "KEPT", 100)
    for _ in range(10):
        bus.publish(shouts(*"abcde") * 20)
    assert 100 <= bus.client.xlen(key("shout")) < 300  # Redis drops whole nodes


def test_a_bus_that_is_away_is_one_sentence() -> None:
    away = Bus(connect("redis://127.0.0.1:1/0", timeout_s=1.0), [Shout])
    with pytest.raises(Transient, match="the event bus did not answer"):
        away.publish(shouts("a"))


def test_a_bus_that_refuses_is_one_sentence_as_one_that_is_away(bus: Bus) -> None:
    bus.client.xadd(key("shout"), {"body": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")  # the last place that there is
    with pytest.raises(Transient, match=r"^the event bus refused: .* exhausted the last possible ID"):
        bus.publish([Shout(word="more")])


def test_of_what_is_set_aside_the_newest_are_kept(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "KEPT", 3)
    for number in range(9):
        bus.client.xadd(key("shout"), {"body": f"junk {number}"})
    drained(member(bus, "ann", []))
    assert sorted(PoisonMessage.objects.values_list("body", flat=True)) == ["junk 6", "junk 7", "junk 8"]


def test_a_consumer_in_a_worker_sets_aside_and_forgets_under_the_role_of_workers(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "KEPT", 2)
    longest = "\N{EURO SIGN}" * LONG
    bus.publish(shouts("a", "b"))
    for body in ("junk", longest):
        bus.client.xadd(key("shout"), {"body": body})
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {WORKER}")
    heard = list[Event]()
    drained(member(bus, "ann", heard, fails="b"))
    newest, oldest = PoisonMessage.objects.all()
    assert '"word":"b"' in newest.body
    assert oldest.body == longest[: LONG // 3]
    PoisonMessage.objects.filter(pk=oldest.pk).update(state="again")
    assert member(bus, "bob", heard).step(wait_ms=1) == 1
    assert PoisonMessage.objects.get(pk=oldest.pk).fault.startswith("must be an event of shout, was not")
    with connection.cursor() as cursor, pytest.raises(ProgrammingError, match="permission denied"):
        cursor.execute("UPDATE bus_poison SET entry = 'x'")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65])
def test_a_group_has_a_name(bus: Bus, name: str) -> None:
    with pytest.raises(DataError, match="a group must have 1 to 64 of a-z"):
        member(bus, "ann", [], group=name)
