"""`manage.py modules`: what a person at the terminal sees and does."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from helios.events.models import SystemEvent
from helios.modules import jobs, presence, services
from helios.modules.catalog import STAGES
from helios.modules.gate import runs
from helios.modules.gate.transcript import TestResult
from helios.modules.models import Module, ModuleJob, ModuleSwap
from tests.support.commands import printed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


def command(*arguments: str) -> str:
    return printed("modules", *arguments).strip()


def read(*arguments: str) -> object:
    return json.loads(command(*arguments, "--json"))


@pytest.fixture
def oracle(code) -> dict[str, str]:
    """Only a slot oracle: 1.0.0 in use, 1.1.0 registered; labels by version."""
    Module.objects.all().delete()
    labels = {v: services.register("oracle", code("oracle", version=v)).label for v in ("1.0.0", "1.1.0")}
    services.activate("oracle", labels["1.0.0"])
    return labels


def test_modules_are_listed_after_what_they_need():
    services.restore_shipped()
    lines = command("list").splitlines()
    assert [line.split()[0] for line in lines] == list(STAGES)
    assert all("ACTIVE" in line and "1.0.0+" in line for line in lines)
    assert [row["name"] for row in read("list")] == list(STAGES)


def test_an_empty_table_says_none(oracle):
    assert command("history", "oracle") == "none"
    assert command("processes") == "none"


def test_registering_loading_activating_and_unloading(code):
    Module.objects.all().delete()
    path = code("oracle", version="1.2.0")
    services.register("source", code("source"), "1.0.0")
    command("activate", "source")
    entered = read("register", "oracle", path, "1.2.0", "--needs", "source=>=1.0.0", "--fixed", "--new-slot")
    assert (entered["state"], entered["dependencies"]) == ("UNLOADED", {"source": ">=1.0.0"})
    assert read("show", "oracle")["hot_reloadable"] is False
    assert read("load", "oracle")["state"] == "LOADED"
    again = command("register", "oracle", path, "1.2.0").splitlines()[-1]
    assert again == f"Next: modules swap oracle {entered['label']}, its tests first; activate where the slot is empty."
    assert "state: ACTIVE" in command("activate", "oracle")
    assert "version: 1.2.0" in command("show", "oracle")
    assert read("unload", "oracle")["state"] == "UNLOADED"
    assert read("restore")["restored"] == list(STAGES)


def test_what_waits_is_listed_and_cancelled(oracle):
    job = jobs.enqueue(ModuleJob.Kind.TEST, "oracle", actor="bob")
    assert command("jobs").split()[:6] == [str(job.pk), "test", "QUEUED", "oracle", oracle["1.1.0"], "bob"]
    with pytest.raises(CommandError, match="no job has the number 0"):
        command("cancel", "0")
    assert "detail: cancelled by cli:" in command("cancel", str(job.pk), "--reason", "misspelt")
    assert command("jobs") == "none"


def test_a_swap_shows_its_progress_and_stands_in_the_history(oracle):
    told = command("swap", "oracle", "1.1.0", "--reason", "sharper")
    assert "running its tests in a process of its own" in told
    assert "in use from the next task on; its first 20 calls are watched" in told
    assert "state: SWITCHED" in told
    (row,) = read("history", "oracle")
    assert (row["from"], row["to"], row["reason"]) == (oracle["1.0.0"], oracle["1.1.0"], "sharper")
    assert "SWITCHED" in command("history", "oracle")
    back = read("rollback", "oracle")
    assert (back["kind"], back["to"]) == ("rollback", oracle["1.0.0"])
    assert [each["state"] for each in read("versions", "oracle")] == ["LOADED", "ACTIVE"]
    assert oracle["1.1.0"] in command("versions", "oracle")


def test_a_swap_in_json_is_nothing_but_json(oracle):
    assert read("swap", "oracle", oracle["1.1.0"])["state"] == "SWITCHED"


def test_a_swap_that_fails_says_why_and_fails_the_command(oracle, monkeypatch):
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "generic test 'finite' failed")
    with pytest.raises(CommandError, match="did not pass its tests: generic test 'finite' failed"):
        command("swap", "oracle", "1.1.0")
    assert ModuleSwap.objects.get().state == "FAILED"


def test_a_slot_is_configured(oracle):
    shown = read("configure", "oracle", "--hot-reload", "off", "--watch-calls", "5", "--watch-failures", "2")
    assert (shown["hot_reloadable"], shown["watch_calls"], shown["watch_failures"]) == (False, 5, 2)
    with pytest.raises(CommandError, match="watch_failures must be a whole number from 1"):
        command("configure", "oracle", "--watch-failures", "0")


def test_processes_are_listed_with_what_they_serve(oracle):
    presence.enter("gpu", generation=7)
    (row,) = read("processes")
    assert (row["component"], row["generation"]) == ("gpu", 7)
    assert command("processes").startswith("gpu ")


def failed(label: str, message: str, output: str = "") -> runs.TestReport:
    result = TestResult(
        name="finite", suite="generic", required=True, outcome="failed", message=message, duration_ms=1.0
    )
    return runs.TestReport(
        module="oracle",
        version=label,
        digest="",
        suites=("generic",),
        passed=False,
        results=(result,),
        output=output,
        duration_ms=1.0,
        lacking=(),
    )


def test_what_code_says_does_nothing_to_the_terminal(oracle, monkeypatch):
    report = failed(oracle["1.1.0"], "\x1b]0;pwn\x07\x1b[2J", "first\x1b[2J\nsecond\x07\n")
    monkeypatch.setattr(runs, "run_suites", lambda *_, **__: report)
    out = StringIO()
    with pytest.raises(CommandError) as ended:
        call_command("modules", "test", "oracle", stdout=out)
    shown = out.getvalue()
    assert all(line.isprintable() for line in [*shown.splitlines(), str(ended.value)])
    assert shown.count(r"\x1b]0;pwn\x07\x1b[2J") == 2  # in the table and in the sentence
    assert shown.splitlines()[-2:] == [r"first\x1b[2J", r"second\x07"]


def test_tests_are_run_by_the_gate_and_a_failure_fails_the_command(oracle, monkeypatch):
    report = failed(oracle["1.1.0"], "NaN")
    asked = []
    monkeypatch.setattr(runs, "run_suites", lambda *words, **_: asked.append(words) or report)
    with pytest.raises(CommandError, match=r"finite.*NaN"):
        command("test", "oracle", "1.1.0", "--suite", "generic")
    assert asked == [("oracle", "1.1.0", ["generic"])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "seer"), "no module is named 'seer'"),
        (("register", "predikt", "tiers.predict"), "no module is named 'predikt'; there are .* --new-slot makes one"),
        (("register", "oracle", "os"), "modules may be loaded from"),
        (("register", "oracle", "tiers.risk", "--needs", "features"), "--needs must read NAME=RANGE"),
        (("swap", "oracle", "9.0.0"), "module oracle has no version 9.0.0"),
        (("rollback", "oracle"), "must have a version before the one in use"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(oracle, arguments: tuple[str, ...], message: str):
    with pytest.raises(CommandError, match=message):
        command(*arguments)


def test_a_terminal_without_a_name_is_still_somebody(monkeypatch, code):
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    command("register", "oracle", code("oracle"), "1.0.0", "--new-slot")
    assert SystemEvent.objects.get(kind="module.registered", subject="oracle").data["actor"] == "cli"
