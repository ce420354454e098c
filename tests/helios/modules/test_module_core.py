"""Versions, ranges, order and paths."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semver import Version

from helios.modules.core.dependencies import check_dependencies, check_name, check_path, load_order
from helios.modules.core.versions import label_of, next_breaking, parse, satisfies
from helios.modules.errors import ModuleRefused

numbers = st.integers(0, 30)
identifiers = st.one_of(numbers.map(str), st.from_regex(r"[a-z][a-z0-9-]{0,4}", fullmatch=True))
versions = st.builds(
    Version, numbers, numbers, numbers, st.lists(identifiers, max_size=3).map(".".join).map(lambda text: text or None)
)


def test_the_order_is_that_of_the_specification():
    texts = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
    ]
    texts += ["1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "1.11.0", "2.0.0", "2.1.0", "2.1.1"]
    parsed = [parse(text) for text in texts]
    parsed.reverse()
    assert [str(version) for version in sorted(parsed)] == texts
    assert len(set(parsed)) == len(texts)


@given(versions)
def test_a_version_reads_back_as_itself(version: Version):
    assert parse(str(version)) == version


@given(versions, versions, versions)
def test_versions_are_in_one_total_order(a: Version, b: Version, c: Version):
    assert (a < b) + (b < a) + (a == b) == 1
    if a <= b <= c:
        assert a <= c


def test_build_metadata_plays_no_part():
    assert parse("1.0.0+build.5") == parse("1.0.0")
    assert str(parse("1.0.0-rc.1+x")) == "1.0.0-rc.1"


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 ", "1.0.0\n", "\uff11.0.0"]
)
def test_what_is_no_version_is_refused(text: str):
    with pytest.raises(ModuleRefused, match=r"a version must read like 1\.4\.0 or 2\.0\.0-rc\.1"):
        parse(text)


@pytest.mark.parametrize(
    ("wanted", "inside", "outside"),
    [
        ("*", ["0.0.1", "9.9.9"], ["1.0.0-rc.1"]),
        ("1.2.0", ["1.2.0"], ["1.2.1", "1.2.0-rc.1"]),
        ("==1.2.0", ["1.2.0"], ["1.1.9"]),
        ("!=1.3.1", ["1.3.0", "1.3.2"], ["1.3.1"]),
        (">=1.2.0,<2.0.0", ["1.2.0", "1.99.0"], ["1.1.9", "2.0.0", "2.0.0-rc.1"]),
        (">1.2.0, <=1.3.0", ["1.2.1", "1.3.0"], ["1.2.0", "1.3.1"]),
        ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]),
        (">=2.0.0-rc.1", ["2.0.0-rc.1", "2.0.0-rc.2", "2.0.0"], ["2.0.0-beta", "2.1.0-rc.1"]),
    ],
)
def test_ranges_hold_what_they_say(wanted: str, inside: list[str], outside: list[str]):
    assert [satisfies(version, wanted) for version in inside] == [True] * len(inside)
    assert [satisfies(version, wanted) for version in outside] == [False] * len(outside)


@given(versions)
def test_every_release_lies_in_its_own_caret_range_and_the_next_breaking_one_does_not(version: Version):
    release = Version(version.major, version.minor, version.patch)
    assert satisfies(str(release), f"^{release}")
    assert not satisfies(str(next_breaking(release)), f"^{release}")


@pytest.mark.parametrize("wanted", ["", "latest", ">=", ">=1.0", ">=1.0.0,", "=>1.0.0", "1.0.0 2.0.0"])
def test_what_is_no_range_is_refused(wanted: str):
    with pytest.raises(ModuleRefused, match="must read like"):
        check_dependencies({"features": wanted})


@pytest.mark.parametrize(
    ("dependencies", "message"),
    [
        (["features"], "dependencies must map names"),
        ({"features": 1}, "the version range of features must be a string"),
    ],
)
def test_dependencies_of_another_shape_are_refused(dependencies, message: str):
    with pytest.raises(ModuleRefused, match=message):
        check_dependencies(dependencies)


def test_every_module_comes_after_what_it_needs():
    needs = {"execute": ["portfolio"], "portfolio": ["risk", "llm"], "llm": ["risk"], "risk": [], "audit": []}
    assert load_order(needs) == ["audit", "risk", "llm", "portfolio", "execute"]


@given(st.permutations(range(8)), st.data())
def test_any_graph_without_a_cycle_is_ordered_and_always_in_the_same_way(order: list[int], data: st.DataObject):
    needs = {
        str(node): [str(other) for other in data.draw(st.sets(st.sampled_from(order[:index])))] if index else []
        for index, node in enumerate(order)
    }
    result = load_order(needs)
    assert sorted(result) == sorted(needs)
    assert all(result.index(other) < result.index(name) for name, others in needs.items() for other in others)
    assert load_order(dict(reversed(needs.items()))) == result


def test_a_cycle_is_refused_by_name():
    with pytest.raises(ModuleRefused, match="modules depend on each other: ") as caught:
        load_order({"risk": ["predict"], "predict": ["features"], "features": ["risk"], "llm": []})
    named = str(caught.value).split(": ")[1].split(" -> ")
    needs = {"risk": "predict", "predict": "features", "features": "risk"}
    assert len(named) == 4
    assert all(needs[name] == other for name, other in pairwise(named))


def test_a_missing_dependency_is_named():
    with pytest.raises(ModuleRefused, match="module risk depends on oracle, which is not registered"):
        load_order({"risk": ["oracle"]})


@pytest.mark.parametrize("path", ["tiers.risk", "tiers.risk_v2.main", "trading.strategies.trend"])
def test_paths_into_allowed_packages_pass(path: str):
    check_path(path, ["tiers", "trading"])


@pytest.mark.parametrize("path", ["os", "tiersx.risk", "subprocess.run", "helios.settings"])
def test_paths_elsewhere_are_refused_with_those_allowed(path: str):
    with pytest.raises(ModuleRefused, match="modules may be loaded from tiers, trading only"):
        check_path(path, ["trading", "tiers"])


@pytest.mark.parametrize(
    "path",
    ["", ".", "tiers.", "tiers..risk", "tiers/risk", "tiers.1", "tiers.__main__", "tiers._x", "tiers.ris k"],
)
def test_what_is_no_dotted_name_is_refused(path: str):
    with pytest.raises(ModuleRefused, match="must be a dotted name"):
        check_path(path, ["tiers"])


@given(versions, st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_label_is_a_version_itself_and_as_good_as_the_one_it_names(version: Version, digest: str):
    label = label_of(str(version), digest)
    assert parse(label) == version
    assert label == f"{version}+{digest[:8]}"


def test_a_label_drops_build_metadata_of_the_version():
    assert label_of("1.0.0+build.5", "0123456789ab") == "1.0.0+01234567"


@pytest.mark.parametrize("name", ["predict", "risk-two", "a", "risk_2"])
def test_names_of_slots_pass(name: str):
    check_name(name)


@pytest.mark.parametrize("name", ["", "Risk", "2risk", "risk two", "../risk", "a" * 65, "rïsk", "risk\n"])
def test_what_is_no_name_of_a_slot_is_refused(name: str):
    with pytest.raises(ModuleRefused, match="a module's name must read like predict or risk-two"):
        check_name(name)
