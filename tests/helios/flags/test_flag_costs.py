"""What a flag, a segment or a request to change one may cost: bounded, and judged before the flags' lock is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from helios import flags
from helios.control import bounds, generations
from helios.db import locks
from helios.flags import judging, references, segments, services
from helios.flags.core import evaluation
from helios.flags.core.constraints import in_networks, parse_networks, parse_pattern, problem
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation_context import NOWHERE
from helios.flags.core.parts import Constraint, Prerequisite, Rule, Segment
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment
from helios.flags.rows import state
from helios.flags.unleash import client_features
from helios.flags.unleash.importing import import_state
from tests.support.people import Api

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEAR = [
    r"(\pL{30}){10}x",
    r"(\pL{40}){10}",
    r"\pL" * 300,
    "(?i)[" + r"\PL" * 330 + "]",
    "((.{10}){10}){10}",
    r"\pL{1,20}",
]
ORDINARY = [
    r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
    "^(AAPL|MSFT|GOOG|BTC-ZAR)$",
    "^(" + "|".join(f"S{number:03}" for number in range(190)) + ")$",
    "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    r"^((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)$",
    r"^\p{Lu}\p{Ll}+ \p{Lu}\p{Ll}+$",
    r"^\pL+$",
    "^[a-z]{1,255}$",
    "^.{1,255}$",
    "a" * 1_000,
]


def regex(pattern: str, *, ignore_case: bool = False) -> dict[str, Any]:
    return {"contextName": "desk", "operator": "REGEX", "value": pattern, "caseInsensitive": ignore_case}


def patterns(count: int) -> list[dict[str, Any]]:
    return [regex(f"costs {number}$") for number in range(count)]


@pytest.mark.parametrize("pattern", DEAR)
@pytest.mark.parametrize("ignore_case", [False, True])
def test_a_pattern_that_is_dear_to_compile_or_to_keep_is_none(pattern: str, ignore_case: bool) -> None:
    constraint = Constraint(context_name="desk", operator="REGEX", value=pattern, case_insensitive=ignore_case)
    assert "of at most 65536 bytes once compiled, with at most 10 classes such as" in problem(constraint)


@pytest.mark.parametrize("pattern", ORDINARY)
@pytest.mark.parametrize("ignore_case", [False, True])
def test_patterns_of_every_day_have_room(pattern: str, ignore_case: bool) -> None:
    constraint = Constraint(context_name="desk", operator="REGEX", value=pattern, case_insensitive=ignore_case)
    assert not problem(constraint)


@given(
    st.lists(st.ip_addresses().flatmap(lambda each: st.integers(0, each.max_prefixlen).map(f"{each}/{{}}".format))),
    st.ip_addresses(),
)
def test_an_address_is_looked_up_as_if_each_network_were_asked(networks: list[str], address: Any) -> None:
    inside = any(address in ip_network(each, strict=False) for each in networks)
    assert in_networks(parse_networks([*networks, "nonsense"]), str(address)) is inside
    assert all(in_networks(parse_networks([each]), str(ip_address(each.split("/")[0]))) for each in networks)


class Counted(dict[str, Any]):
    """Attributes that count how often one is read."""

    reads = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.reads += 1
        return super().get(key, default)


def test_a_segment_is_compiled_once_and_asked_once_a_decision_whoever_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Constraint] = []
    compile_one = evaluation.compile_constraint

    def counted(constraint: Constraint, here: str = "") -> evaluation.Test:
        compiled.append(constraint)
        return compile_one(constraint, here=here)

    monkeypatch.setattr(evaluation, "compile_constraint", counted)
    inside = Segment(name="s", constraints=(Constraint(context_name="desk", operator="IN", values=("a",)),))
    rules = tuple(Rule(name="userWithId", segments=("s",) * 3) for _ in range(4))
    base = FlagDefinition(name="base", enabled=True, strategy=Strategy.RULES, rules=rules, segments=("s",))
    behind = (Prerequisite(feature="base", enabled=False),)
    top = FlagDefinition(name="top", enabled=True, segments=("s",), prerequisites=behind)
    ready = evaluation.compile_flags({"base": base, "top": top}, {"s": inside}, NOWHERE)
    assert len(compiled) == 1
    for desk, answer in (("a", True), ("b", False), ("a", True)):
        attributes = Counted(desk=desk, userId="ann")
        assert ready["top"].decide(FlagContext(attributes=attributes), NOW).enabled is answer
        asked_for_the_user = len(rules) if answer else 0
        assert attributes.reads == 1 + asked_for_the_user


@pytest.mark.django_db
def test_a_rule_names_a_segment_once() -> None:
    for name in ("desk", "crypto"):
        segments.create(name, actor="ann")
    services.create("f", {"rules": [{"name": "default", "segments": ["desk", "crypto", " desk"]}]}, actor="ann")
    assert FeatureFlag.objects.get(name="f").rules == [{"name": "default", "segments": ["desk", "crypto"]}]


@pytest.mark.django_db
def test_a_row_that_nobody_changed_is_neither_read_nor_compiled_again() -> None:
    segments.create("desks", {"constraints": [regex("^a")]}, actor="ann")
    services.create("kept", {"enabled": True, "constraints": [regex("^b")]}, actor="ann")
    flags.refresh_if_behind()
    before = flags.snapshot()
    compiled = before.flags["kept"].constraints[0].holds
    services.create("other", actor="ann")
    segments.edit("desks", {"description": "changed"}, actor="ann")
    flags.refresh_if_behind()
    after = flags.snapshot()
    assert "other" in after.flags
    assert after.flags["kept"] is before.flags["kept"]
    assert after.flags["kept"].constraints[0].holds is compiled is not None
    assert (after.segments["desks"].description, before.segments["desks"].description) == ("changed", "")


TOO_MUCH: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "patterns": (lambda: {"constraints": patterns(21)}, "must have at most 20 patterns, f had 21"),
    "patterns of rules": (
        lambda: {"rules": [{"name": "default", "constraints": patterns(7)}] * 3},
        "must have at most 20 patterns, f had 21",
    ),
    "segments": (
        lambda: {"segments": ["s"], "rules": [{"name": "default", "segments": ["s"] * 50}] * 2},
        "must have at most 100 names of segments, f had 101",
    ),
    "bytes": (lambda: {"description": "x" * bounds.FLAG_BYTES}, "must have at most 65536 bytes as JSON, f had 65555"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_flag_of_too_much_is_refused_before_any_of_its_patterns_is_compiled(operator: Api, what: str) -> None:
    segments.create("s", actor="ann")
    fields, sentence = TOO_MUCH[what]
    compiled = parse_pattern.cache_info().misses
    with pytest.raises(InvalidFlagError, match=sentence):
        services.create("f", fields(), actor="ann")
    if what != "bytes":  # of which a description has fewer
        answer = operator.post("feature-flags", {"name": "f", **fields()})
        assert (answer.status_code, answer.json()["detail"]) == (422, f"a flag or a segment {sentence}")
    assert parse_pattern.cache_info().misses == compiled


@pytest.mark.django_db
def test_a_request_of_too_much_is_refused_before_its_parts_are_looked_at(operator: Api) -> None:
    body = {"name": "big", "rules": [{"no such field": "x" * 700}] * 100}
    assert operator.post("feature-flags", body).status_code == 422
    assert operator.post("segments", {"name": "big", "constraints": body["rules"]}).status_code == 422
    assert operator.patch("feature-flags/websocket_v2", {"rules": body["rules"]}).status_code == 422


@pytest.mark.django_db
def test_what_had_more_before_the_bound_may_only_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    services.create("f", {"constraints": patterns(3)}, actor="ann")
    monkeypatch.setattr(bounds, "FLAG_PATTERNS", 1)
    monkeypatch.setattr(bounds, "PATTERNS", 1)
    assert services.set_percentage("f", 5, actor="ann").changed
    assert services.kill("f", actor="ann").changed
    assert services.enable("f", actor="ann").changed
    assert services.edit("f", {"constraints": patterns(1)}, actor="ann").changed
    with pytest.raises(InvalidFlagError, match="at most 1 patterns, f had 2"):
        services.edit("f", {"constraints": patterns(2)}, actor="ann")


@pytest.mark.django_db
def test_rules_have_a_bound_in_one_flag_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [{"name": "default"}] * 100
    services.create("f", {"rules": rules}, actor="ann")
    with pytest.raises(InvalidFlagError, match="at most 100 rules, f had 101"):
        services.edit("f", {"rules": [*rules, rules[0]]}, actor="ann")
    monkeypatch.setattr(bounds, "RULES", 100)
    with pytest.raises(InvalidFlagError, match="at most 100 rules together, would have 101"):
        services.create("g", {"rules": rules[:1]}, actor="ann")


@pytest.mark.django_db
def test_what_sdks_are_told_has_a_bound_in_one_flag_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with variants is told once for each identity and way to stick."""
    variants = [{"name": f"v{number}", "weight": 1} for number in range(100)]
    fields = {"enabled": True, "strategy": "whitelist", "whitelist": ["AAPL"], "variants": variants}
    services.create("f", fields, actor="ann")
    told = len(json.dumps(client_features.client_features()))
    about = judging.n_told(state(FeatureFlag.objects.get(name="f")))
    assert 60_000 < about < told < 3 * about
    longer = {"whitelist": [f"{number:0100d}" for number in range(180)]}
    with pytest.raises(InvalidFlagError, match="at most 524288 bytes to be told to SDKs, f had"):
        services.edit("f", longer, actor="ann")
    monkeypatch.setattr(bounds, "TOLD", 2 * about - 1)
    with pytest.raises(InvalidFlagError, match="bytes to be told to SDKs together, would have"):
        services.create("g", fields, actor="ann")


@pytest.mark.django_db
def test_all_flags_and_segments_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PATTERNS", 5)
    services.create("f", {"rules": [{"name": "default", "constraints": patterns(3)}]}, actor="ann")
    segments.create("s", {"constraints": patterns(2)}, actor="ann")
    with pytest.raises(InvalidFlagError, match="at most 5 patterns together, would have 6"):
        services.create("g", {"constraints": patterns(1)}, actor="ann")
    assert services.edit("f", {"rules": []}, actor="ann").changed
    assert services.create("g", {"constraints": patterns(1)}, actor="ann").changed
    rows = [*FeatureFlag.objects.all(), *FlagSegment.objects.all()]
    monkeypatch.setattr(bounds, "ALL_BYTES", sum(judging.size(state(row)) for row in rows))
    with pytest.raises(InvalidFlagError, match="bytes as JSON together, would have"):
        segments.edit("s", {"description": "x"}, actor="ann")
    assert services.kill("f", actor="ann").changed


@pytest.mark.django_db
def test_a_context_over_http_holds_no_long_texts(viewer: Api) -> None:
    assert viewer.get("feature-flags/websocket_v2/check", {"desk": "x" * 256}).status_code == 200
    answer = viewer.get("feature-flags/websocket_v2/check", {"desk": "x" * 257})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "an attribute must have at most 256 letters, 'desk' had more",
    )


BAD = {"constraints": [regex(DEAR[0])]}
FEATURE = {"name": "f", "strategies": [{"name": "default", "constraints": patterns(21)}]}
CHANGES: dict[str, Callable[[], object]] = {
    "create": lambda: services.create("f", BAD, actor="ann"),
    "edit": lambda: services.edit("websocket_v2", BAD, actor="ann"),
    "segment": lambda: segments.create("s", BAD, actor="ann"),
    "edit of a segment": lambda: segments.edit("s", BAD, actor="ann"),
    "import": lambda: import_state(json.loads(json.dumps({"features": [FEATURE]})), actor="ann"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_holds_is_judged_before_the_lock_that_a_kill_waits_for(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Somebody else holds the lock: who is refused is told why, and not that the lock is taken."""
    monkeypatch.setattr(locks, "WAIT_MS", 50)

    def asked() -> None:
        try:
            with pytest.raises(InvalidFlagError, match=r"a pattern of RE2|at most 20 patterns"):
                CHANGES[change]()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as other:
        generations.lock("flags")
        other.submit(asked).result(timeout=20)


@pytest.mark.django_db
def test_a_page_and_an_action_read_once_what_flags_refer_to(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def all_references(real: Any = references.all_references) -> Any:
        read.append(1)
        return real()

    for n in range(5):
        segments.create(f"s{n}", actor="ada")
        services.create(f"f{n}", {"segments": [f"s{n}"], "enabled": True}, actor="ada")
    monkeypatch.setattr(references, "all_references", all_references)
    assert b"f4" in admin_client.get("/admin/flags/flagsegment/").content
    assert len(read) == 1
    chosen = FeatureFlag.objects.filter(name__in=[f"f{n}" for n in range(5)])
    data = {"action": "disable_selected", "_selected_action": [flag.pk for flag in chosen]}
    admin_client.post("/admin/flags/featureflag/", data)
    assert (len(read), chosen.filter(enabled=True).count()) == (2, 0)


@pytest.mark.django_db
def test_no_action_changes_rows_without_end(admin_client: Client) -> None:
    for n in range(50):
        services.create(f"f{n}", {"enabled": True}, actor="ada")
    first = FeatureFlag.objects.get(name="f0")
    data = {"action": "disable_selected", "select_across": "1", "index": "0", "_selected_action": [first.pk]}
    answer = admin_client.post("/admin/flags/featureflag/", data, follow=True)
    assert f"choose 50 at most, were {FeatureFlag.objects.count()}" in answer.content.decode()
    assert FeatureFlag.objects.filter(name__startswith="f", enabled=True).count() == 50
