"""What the tables hold, read as definitions; what cannot be read is off and logged, and the others serve."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection

from helios import flags
from helios.errors import Transient
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import Strategy
from helios.flags.core.parts import Constraint, Payload, Prerequisite, Rule, ScheduleStep, Segment, Variant
from helios.flags.models import FeatureFlag, FlagSegment
from helios.flags.reader import DatabaseReader, definition_from, evaluation_context, segment_from

START = datetime(2026, 3, 1, tzinfo=UTC)
DESK = {"contextName": "desk", "operator": "IN", "values": ["crypto"]}
pytestmark = pytest.mark.django_db


def row(**fields: object) -> FeatureFlag:
    return FeatureFlag.objects.create(**{"name": "a_flag", "enabled": True, **fields})


def test_a_read_that_fails_leaves_the_callers_transaction_usable() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE feature_flags RENAME TO elsewhere")  # undone with this test
    with pytest.raises(Transient, match="the flags must be readable"):
        DatabaseReader().load()
    assert FlagSegment.objects.count() == 0


def test_every_column_reaches_the_definition() -> None:
    row(
        strategy="percentage",
        percentage=30,
        gradual_from=10,
        gradual_start=START,
        gradual_end=START + timedelta(days=1),
        schedule=[{"at": START.isoformat(), "percentage": 50}],
        stickiness="user",
        group_id="pair",
        environments=["dev"],
        prerequisites=[{"feature": "garch_volatility", "enabled": False}],
        constraints=[DESK],
        segments=["large"],
        rules=[{"name": "userWithId", "parameters": {"userIds": "ada"}, "segments": ["large"]}],
        variants=[{"name": "slow", "weight": 1000, "payload": {"type": "number", "value": "20"}}],
        whitelist=["AAPL"],
        blacklist=["MSFT"],
    )
    FlagSegment.objects.create(name="large", description="big ones", constraints=[DESK])
    _, definitions, segments = DatabaseReader().load()
    flag, desk = definitions["a_flag"], Constraint(context_name="desk", operator="IN", values=("crypto",))
    assert (flag.strategy, flag.percentage, flag.gradual_from) == (Strategy.PERCENTAGE, 30, 10)
    assert (flag.gradual_start, flag.gradual_end) == (START, START + timedelta(days=1))
    assert flag.schedule == (ScheduleStep(at=START, percentage=50),)
    assert (flag.stickiness, flag.group_id, flag.environments) == ("user", "pair", {"dev"})
    assert flag.prerequisites == (Prerequisite(feature="garch_volatility", enabled=False),)
    assert (flag.constraints, flag.segments) == ((desk,), ("large",))
    assert flag.rules == (Rule(name="userWithId", parameters={"userIds": "ada"}, segments=("large",)),)
    assert flag.variants == (Variant(name="slow", weight=1000, payload=Payload(type="number", value="20")),)
    assert (flag.whitelist, flag.blacklist) == ({"AAPL"}, {"MSFT"})
    assert segments == {"large": Segment(name="large", description="big ones", constraints=(desk,))}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"constraints": [{**DESK, "operator": "LIKE"}]}, r"constraints\[0\].operator must be one of"),
        ({"constraints": [3]}, r"constraints\[0\] must be an object, was 3"),
        ({"rules": [{"name": "magic"}]}, r"rules\[0\].name must be one of"),
        ({"rules": [{"name": "default", "constraints": [{}]}]}, r"rules\[0\].constraints\[0\].contextName must be"),
        ({"variants": [{"name": "x"}]}, r"variants\[0\].weight must be a whole number"),
        ({"variants": [{"name": "x", "weight": 1}] * 2}, "variants must have names of their own, came twice: x"),
        ({"prerequisites": [{}]}, r"prerequisites\[0\].feature must be a text, was missing"),
        ({"schedule": [{"at": "soon", "percentage": 1}]}, r"schedule\[0\].at must be a moment in RFC 3339"),
        ({"name": "a flag"}, "name must be 1 to 100"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_with_the_path(fields: dict, sentence: str) -> None:
    values = {**vars(FeatureFlag(name="a_flag")), **fields}
    with pytest.raises(ValueError, match=sentence):
        definition_from(values)


def test_a_segment_that_breaks_a_rule_is_refused_with_the_path() -> None:
    with pytest.raises(ValueError, match=r"constraints\[0\].contextName must be a text, was missing"):
        segment_from(vars(FlagSegment(name="large", constraints=[{}])))


def test_what_a_newer_release_wrote_is_off_and_logged_and_the_others_serve(logged: list[str]) -> None:
    row(name="newer", constraints=[{**DESK, "operator": "FUZZY_MATCH"}])
    row(name="bound", segments=["newer_segment"])
    row(name="plain")
    FlagSegment.objects.create(name="newer_segment", constraints=[{**DESK, "operator": "FUZZY_MATCH"}])
    crypto = FlagContext(attributes={"desk": "crypto"})
    assert [flags.is_enabled(name, crypto) for name in ("newer", "bound", "plain")] == [False, False, True]
    assert logged.count("flags.unreadable") == 2


def test_surroundings_are_those_of_the_process() -> None:
    here = evaluation_context()
    assert (here.environment, here.hostname) == (settings.ENVIRONMENT, socket.gethostname())
    drawn = {here.draw() for _ in range(20)}
    assert len(drawn) > 10
    assert all(0 <= each < 1 for each in drawn)


def test_a_flag_of_this_environment_serves_here_and_one_of_another_does_not() -> None:
    row(name="here", environments=[settings.ENVIRONMENT])
    row(name="there", environments=["elsewhere"])
    assert [flags.is_enabled("here"), flags.is_enabled("there")] == [True, False]
    assert flags.is_enabled("there", FlagContext(environment="elsewhere"))
