"""Flags in Unleash's client format: Unleash's own engine and SDK answer from it as Helios does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios import flags
from helios.flags import catalog, segments, services
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Constraint, Payload, Prerequisite, Rule, ScheduleStep, Segment, Variant
from helios.flags.unleash import client_features
from helios.flags.unleash.state import parse_state

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HERE = EvaluationContext(environment="dev")
SYMBOLS = ["AAPL", "MSFT", "NVDA", "BTC/USD", "ETH/USD", "JPM", "XOM", "é"]
ASIA = Segment(name="asia", constraints=(Constraint(context_name="region", operator="IN", values=("asia",)),))
SEGMENTS = {"asia": ASIA}
RED_GREEN = (
    Variant(name="red", weight=300, payload=Payload(type="string", value="#f00")),
    Variant(name="green", weight=700),
)
contexts = st.builds(
    FlagContext,
    symbol=st.sampled_from(["", *SYMBOLS]),
    user=st.sampled_from(["", "ada", "bob"]),
    strategy=st.sampled_from(["", "helios"]),
    system=st.sampled_from(["", "replay"]),
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "region": st.sampled_from(["asia", "europe"]),
            "desk": st.sampled_from(["7", "8"]),
            "sessionId": st.sampled_from(["s1", "s2"]),
        },
    ),
)
conditions = st.lists(
    st.sampled_from(
        [
            Constraint(context_name="region", operator="IN", values=("asia", "africa")),
            Constraint(context_name="symbol", operator="STR_ENDS_WITH", values=("/usd",), case_insensitive=True),
            Constraint(context_name="desk", operator="NUM_GTE", value="8", inverted=True),
            Constraint(context_name="user", operator="NOT_IN", values=("bob",)),
        ]
    ),
    max_size=2,
    unique=True,
).map(tuple)
names = st.frozensets(st.sampled_from(["AAPL", "BTC/USD", "ada", "helios", "replay"]), max_size=3)


@st.composite
def own_flags(draw: st.DrawFn, *, variants: tuple[Variant, ...] = ()) -> FlagDefinition:
    """A flag of any of Helios's own strategies, with conditions in front."""
    percentage = draw(st.integers(0, 100))
    start = draw(st.none() | st.sampled_from([NOW - timedelta(days=3), NOW + timedelta(days=1)]))
    strategy = draw(st.sampled_from([each for each in Strategy if each is not Strategy.RULES]))
    return FlagDefinition(
        name="mine",
        enabled=strategy is not Strategy.KILL_SWITCH and draw(st.sampled_from([True, True, False])),
        strategy=strategy,
        percentage=percentage,
        whitelist=draw(names),
        blacklist=draw(names),
        gradual_from=draw(st.integers(0, percentage)),
        gradual_start=start,
        gradual_end=start + timedelta(days=9) if start else None,
        schedule=draw(st.sampled_from([(), (ScheduleStep(at=NOW - timedelta(days=1), percentage=60),)])),
        stickiness=draw(st.sampled_from(["", "desk", "user", "symbol"])),
        group_id="" if variants else draw(st.sampled_from(["", "shared"])),
        environments=draw(st.sampled_from([frozenset(), frozenset({"dev"}), frozenset({"prod", "staging"})])),
        constraints=draw(conditions),
        segments=draw(st.sampled_from([(), ("asia",)])),
        variants=variants,
    )


rule_lists = st.lists(
    st.builds(
        Rule,
        name=st.just("flexibleRollout"),
        parameters=st.fixed_dictionaries(
            {
                "rollout": st.integers(0, 100).map(str),
                "stickiness": st.sampled_from(["default", "symbol", "userId"]),
                "groupId": st.sampled_from(["", "g"]),
            }
        ),
        constraints=conditions,
        segments=st.sampled_from([(), ("asia",)]),
        variants=st.sampled_from([(), RED_GREEN]),
    )
    | st.builds(Rule, name=st.just("userWithId"), parameters=st.just({"userIds": "ada"}), constraints=conditions),
    max_size=3,
).map(tuple)


def as_unleash(context: FlagContext) -> dict:
    """The context as an SDK is given it; what is empty is not given."""
    fields = {"symbol": context.symbol, "strategy": context.strategy, "system": context.system}
    properties = {**context.attributes, **{key: value for key, value in fields.items() if value}}
    session = {"sessionId": properties.pop("sessionId")} if "sessionId" in properties else {}
    user = {"userId": context.user} if context.user else {}
    return {"environment": "dev", "properties": properties, **user, **session}


def has_identity(context: FlagContext) -> bool:
    fields = context.symbol, context.user, context.strategy, context.system
    return any(fields) or "sessionId" in context.attributes


@pytest.fixture(scope="module")
def engine() -> object:
    made = pytest.importorskip("yggdrasil_engine.engine", reason="Unleash's engine is not installed")
    return made.UnleashEngine()


def ask(engine, table: dict[str, FlagDefinition], name: str, context: FlagContext) -> bool:
    engine.take_state(json.dumps(client_features.payload(table, SEGMENTS, NOW)))
    return engine.is_enabled(name, as_unleash(context)).is_enabled


@given(flag=own_flags(), context=contexts)
def test_every_strategy_of_helios_answers_alike_in_unleashs_engine(engine, flag, context) -> None:
    ours = compile_flags({"mine": flag}, SEGMENTS, HERE)["mine"].decide(context, NOW).enabled
    assert ask(engine, {"mine": flag}, "mine", context) is ours


@given(data=st.data(), context=contexts.filter(has_identity))
def test_variants_held_on_symbols_come_out_alike_in_unleashs_engine(engine, data, context) -> None:
    flag = data.draw(own_flags(variants=RED_GREEN))
    if flag.strategy in {Strategy.PERCENTAGE, Strategy.GRADUAL} and flag.stickiness:
        return  # the one thing that the format cannot say, see the module's text
    ours = compile_flags({"mine": flag}, SEGMENTS, HERE)["mine"].choose(context, NOW)
    engine.take_state(json.dumps(client_features.payload({"mine": flag}, SEGMENTS, NOW)))
    assert engine.get_variant("mine", as_unleash(context)).variant.name == ours.name


@given(rules=rule_lists, context=contexts.filter(has_identity))
def test_rules_with_default_stickiness_hold_on_symbols_in_unleashs_engine_too(engine, rules, context) -> None:
    flag = FlagDefinition(name="mine", enabled=True, strategy=Strategy.RULES, rules=rules)
    ours = compile_flags({"mine": flag}, SEGMENTS, HERE)["mine"]
    assert ask(engine, {"mine": flag}, "mine", context) is ours.decide(context, NOW).enabled
    theirs = engine.get_variant("mine", as_unleash(context)).variant
    assert theirs.name == ours.choose(context, NOW).name or _by_chance(rules, context)


def _by_chance(rules: tuple[Rule, ...], context: FlagContext) -> bool:
    """Whether a variant may be drawn: what its rule holds on is not given."""
    sticky = {rule.parameters.get("stickiness", "default") for rule in rules if rule.variants}
    return any(name != "default" and not context.value(name) for name in sticky)


@given(flag=own_flags() | own_flags(variants=RED_GREEN), context=contexts.filter(has_identity))
def test_the_payload_read_back_by_our_own_parser_answers_alike(flag, context) -> None:
    state = parse_state(json.loads(json.dumps(client_features.payload({"mine": flag}, SEGMENTS, NOW))))
    again = compile_flags(state.features, state.segments, HERE)["mine"]
    ours = compile_flags({"mine": flag}, SEGMENTS, HERE)["mine"]
    assert again.decide(context, NOW).enabled is ours.decide(context, NOW).enabled
    if flag.strategy not in {Strategy.PERCENTAGE, Strategy.GRADUAL} or not flag.stickiness:
        assert again.choose(context, NOW).name == ours.choose(context, NOW).name


def test_conditions_of_many_rules_are_told_once_and_hold_alike_in_unleashs_engine(engine) -> None:
    rule = Rule(name="flexibleRollout", parameters={"rollout": "100"})
    long = Constraint(context_name="desk", operator="IN", values=tuple(f"{number:0240d}" for number in range(100)))
    flag = FlagDefinition(
        name="mine", enabled=True, strategy=Strategy.RULES, rules=(rule,) * 100, constraints=(long,), segments=("asia",)
    )
    body = client_features.payload({"mine": flag, "other": flag}, SEGMENTS, NOW)
    assert len(json.dumps(body)) < 1_000_000
    assert [each["id"] for each in body["segments"]] == [1, 2, 3]
    ours = compile_flags({"mine": flag}, SEGMENTS, HERE)["mine"]
    for desk, region in ((f"{7:0240d}", "asia"), (f"{7:0240d}", "europe"), ("7", "asia")):
        context = FlagContext(symbol="AAPL", attributes={"desk": desk, "region": region})
        assert ask(engine, {"mine": flag}, "mine", context) is ours.decide(context, NOW).enabled


def test_prerequisites_become_dependencies(engine) -> None:
    table = {
        "parent": FlagDefinition(
            name="parent", enabled=True, strategy=Strategy.WHITELIST, whitelist=frozenset({"AAPL"})
        ),
        "child": FlagDefinition(name="child", enabled=True, prerequisites=(Prerequisite(feature="parent"),)),
        "other": FlagDefinition(
            name="other", enabled=True, prerequisites=(Prerequisite(feature="parent", enabled=False),)
        ),
    }
    for symbol in ("AAPL", "MSFT"):
        context = FlagContext(symbol=symbol)
        assert ask(engine, table, "child", context) is (symbol == "AAPL")
        assert ask(engine, table, "other", context) is (symbol != "AAPL")


@pytest.mark.parametrize("parameters", [{}, {"groupId": ""}, {"groupId": "g"}])
def test_gradual_rollouts_hold_on_the_same_group_in_unleashs_engine(engine, parameters: dict[str, str]) -> None:
    rule = Rule(name="gradualRolloutUserId", parameters={"percentage": "50", **parameters})
    flag = FlagDefinition(name="a", enabled=True, strategy=Strategy.RULES, rules=(rule,))
    ours = compile_flags({"a": flag}, SEGMENTS, HERE)["a"]
    people = [FlagContext(user=f"user-{number}") for number in range(40)]
    served = [ours.decide(each, NOW).enabled for each in people]
    assert 5 < sum(served) < 35
    assert [ask(engine, {"a": flag}, "a", each) for each in people] == served


def test_a_flag_that_serves_nobody_is_off_and_not_on_for_everybody() -> None:
    nobody = [
        FlagDefinition(name="a", enabled=True, strategy=Strategy.WHITELIST),
        FlagDefinition(name="b", enabled=True, strategy=Strategy.ALL_OFF),
        FlagDefinition(name="c", enabled=True, strategy=Strategy.PERCENTAGE),
        FlagDefinition(name="d", strategy=Strategy.KILL_SWITCH),
        FlagDefinition(name="e", enabled=True, strategy=Strategy.GRADUAL, percentage=50),
    ]
    for flag in nobody:
        assert client_features.feature(flag, {}, NOW, [])["enabled"] is False


def test_a_segment_that_does_not_exist_has_a_number_that_none_has() -> None:
    flag = FlagDefinition(name="mine", enabled=True, segments=("gone", "asia"))
    body = client_features.payload({"mine": flag}, SEGMENTS, NOW)
    assert body["features"][0]["strategies"][0]["segments"] == [client_features.NO_SEGMENT, 1]
    assert [each["id"] for each in body["segments"]] == [1]


@pytest.mark.django_db
def test_the_answer_names_version_environment_generation_and_tag() -> None:
    answer = client_features.client_features()
    assert {each["name"] for each in answer["features"]} == set(catalog.BY_NAME)
    assert (answer["version"], answer["query"]) == (2, {"environment": "dev"})
    assert answer["meta"]["revisionId"] == flags.snapshot().generation
    assert client_features.etag(answer).startswith(f'"{flags.snapshot().generation}-')
    assert client_features.etag(answer) == client_features.etag(client_features.client_features())


@pytest.mark.django_db
def test_the_tag_changes_with_a_change_and_with_a_share_that_moves() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    first = client_features.etag(client_features.client_features(now))
    services.set_ramp("paper_trading_v2", now, now + timedelta(days=10), 0, 100, actor="ada")
    services.enable("paper_trading_v2", actor="ada")
    flags.refresh_if_behind()
    at_once, later = client_features.client_features(now), client_features.client_features(now + timedelta(days=5))
    assert len({first, client_features.etag(at_once), client_features.etag(later)}) == 3
    (ramp,) = [each for each in later["features"] if each["name"] == "paper_trading_v2"]
    assert {each["parameters"]["rollout"] for each in ramp["strategies"]} == {"50"}


@pytest.fixture
def server() -> Iterator[str]:
    """A local web server that gives the flags as they were when it started."""
    body = json.dumps(client_features.client_features()).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/api/client/features")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body if found else b"{}")

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/api"
    running.shutdown()
    running.server_close()
    thread.join(10)


@pytest.fixture
def varied_flags(db: None) -> None:
    """The shipped flags moved off their defaults, and some of our own beside them."""
    by = {"actor": "ada"}
    asia = {"constraints": [{"contextName": "region", "operator": "IN", "values": ["asia"]}]}
    segments.create("asia", asia, **by)
    services.set_percentage("neural_network_v2", 40, **by)
    services.enable("neural_network_v2", **by)
    services.enable("websocket_v2", **by)
    services.whitelist_add("advanced_risk_engine", ["AAPL", "ada"], **by)
    services.enable("advanced_risk_engine", **by)
    services.edit("black_litterman", {"enabled": True, "strategy": "blacklist", "blacklist": ["MSFT"]}, **by)
    services.kill("garch_volatility", **by)
    services.create("in_asia", {"enabled": True, "segments": ["asia"]}, **by)
    services.create("elsewhere", {"enabled": True, "environments": ["prod"]}, **by)
    services.create("behind", {"enabled": True, "prerequisites": [{"feature": "advanced_risk_engine"}]}, **by)
    halves = [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]
    services.create("shaded", {"enabled": True, "variants": halves}, **by)
    flags.refresh_if_behind()


def test_unleashs_sdk_reading_over_http_answers_as_helios_does(varied_flags: None, server: str, tmp_path) -> None:
    sdk = pytest.importorskip("UnleashClient", reason="Unleash's SDK is not installed (requirements-sdk.txt)")
    unleash = sdk.UnleashClient(
        url=server,
        app_name="helios",
        environment="dev",
        disable_metrics=True,
        disable_registration=True,
        cache_directory=str(tmp_path),
        refresh_interval=3600,
    )
    unleash.initialize_client()
    try:
        for symbol in SYMBOLS:
            for user, region in (("", "asia"), ("ada", "europe"), ("bob", "asia")):
                context = FlagContext(symbol=symbol, user=user, attributes={"region": region})
                given = {key: value for key, value in as_unleash(context).items() if key != "environment"}
                for name in flags.snapshot().flags:
                    assert unleash.is_enabled(name, given) is flags.is_enabled(name, context), (name, context)
                assert unleash.get_variant("shaded", given)["name"] == flags.variant("shaded", context).name
    finally:
        unleash.destroy()
