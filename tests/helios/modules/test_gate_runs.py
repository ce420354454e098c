"""Suites run on registered versions: what is kept, what is refused, and that every shipped tier passes its own."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from helios.events.models import SystemEvent
from helios.modules import services
from helios.modules.catalog import STAGES
from helios.modules.errors import ModuleRefused, SeveralVersions, UnknownModule
from helios.modules.gate import runs
from helios.modules.gate.sandbox import GateOutcome, Limits
from helios.modules.gate.transcript import LOADS, STARTS, Transcript
from helios.modules.models import ModuleTestRun, ModuleVersion
from helios.modules.printing import report as printed
from helios.modules.printing import summary

pytestmark = pytest.mark.django_db

ECHO = '''"""Gives back what it gets, and says so."""

VERSION = "1.0.0"


def run(value):
    """Give back the value as it came."""
    return {body}
'''


@pytest.fixture
def echo(code, tiny):
    """Register the module `echo` with a body; returns its label."""

    def make(body: str = "value", name: str = "echo_code") -> str:
        return services.register("echo", code(name, ECHO.format(body=body)), actor="ann").label

    return make


def test_a_run_is_kept_with_its_results_and_told_as_an_event(echo):
    label = echo()
    report = runs.run_suites("echo", actor="ann")
    assert (report.passed, report.version, report.suites, report.reason) == (True, label, ("tiny",), "")
    row = ModuleTestRun.objects.get()
    assert report.run_id == row.pk
    assert (row.module, row.version, row.digest, row.passed, row.actor) == ("echo", label, report.digest, True, "ann")
    assert [each["name"] for each in row.results] == [result.name for result in report.results]
    told = SystemEvent.objects.get(kind="module.tested")
    assert (told.subject, told.severity, told.data["label"], told.data["run"]) == ("echo", "info", label, row.pk)
    assert ModuleTestRun.objects.get(digest=report.digest, passed=True) == row


def test_an_optional_test_is_told_and_does_not_block(echo):
    echo()
    report = runs.run_suites("echo", actor="ann")
    optional = next(result for result in report.results if result.name == "optional")
    assert (optional.outcome, optional.blocks, report.passed) == ("failed", False, True)


def test_a_required_test_that_fails_blocks_with_its_sentence(echo):
    echo("value + 1")
    report = runs.run_suites("echo", actor="ann")
    assert not report.passed
    assert report.reason == "did not pass the tiny test 'runs' (failed): run must give back what it gets"
    assert SystemEvent.objects.get(kind="module.tested").severity == "warning"
    assert not ModuleTestRun.objects.filter(digest=report.digest, passed=True).exists()


def test_a_hung_test_is_ended_and_the_rest_is_told_as_not_run(echo, monkeypatch):
    monkeypatch.setattr(runs, "DEFAULTS", Limits(test_s=1.0))
    echo("[0 for _ in iter(int, 1)]")
    report = runs.run_suites("echo", actor="ann")
    told = {result.name: result.outcome for result in report.results}
    assert told["before"] == "passed"
    assert told["runs"] == "timeout"
    assert told["after"] == told["optional"] == "error"
    last = report.results[-1]
    assert last.message == "not run, since the process ended in 'runs'"
    assert "(timeout): it must take at most 1 s, it was ended then" in report.reason
    assert ModuleTestRun.objects.get(module="echo").passed is False


def test_a_crash_names_its_signal_and_keeps_the_output(echo):
    echo("(print('a last message'), __import__('ctypes').string_at(0))")
    report = runs.run_suites("echo", actor="ann")
    killed = next(result for result in report.results if result.outcome == "killed")
    assert (killed.name, killed.message) == ("runs", "its process was ended by SIGSEGV")
    assert "a last message" in report.output
    assert "Segmentation fault" in ModuleTestRun.objects.get().output


def test_a_process_that_ends_between_two_tests_never_passes(echo):
    echo("value\nimport os, threading\nthreading.Timer(0.0, os._exit, (0,)).start()\nimport time; time.sleep(1)")
    report = runs.run_suites("echo", actor="ann")
    assert not report.passed
    ended = GateOutcome(kind="killed", reason="it left", said=heard(STARTED), output="", duration_ms=1.0)
    tested = ModuleVersion.objects.select_related("module").get(module__name="echo")
    lost = runs.report_of(ended, tested, ("tiny",))
    assert [(result.name, result.outcome) for result in lost.results] == [("loads", "passed"), ("ends", "killed")]
    assert lost.reason == "did not live through its tests: it left"


@pytest.mark.parametrize(("left_out", "missing"), [(1, {"runs"}), (0, {"ends"}), (None, set())])
def test_a_result_that_was_not_heard_never_passes(echo, left_out: int | None, missing: set[str]):
    echo()
    tested = ModuleVersion.objects.select_related("module").get(module__name="echo")
    words = [{"plan": [RUNS]}, {"begin": RUNS}, {"result": [*RUNS, "passed", "", 1.0]}, {"end": True}]
    told = [word for number, word in enumerate(words) if left_out is None or number == 3 or number < left_out]
    said = heard([*STARTED, *told])
    report = runs.report_of(GateOutcome(kind="finished", reason="", said=said, output="", duration_ms=1.0), tested, ())
    assert {result.name for result in report.results if result.blocks} == missing
    assert report.passed is (not missing)


def test_nothing_that_a_candidate_says_steers_a_terminal_or_looks_like_another_line(echo):
    echo()
    tested = ModuleVersion.objects.select_related("module").get(module__name="echo")
    evil = ["tiny", "ru\x1bns\nx", True]
    words = [{"plan": [evil]}, {"begin": evil}, {"result": [*evil, "failed", "no\r\n\x1b[2Jpassed\u202e", 1.0]}]
    said = heard([*STARTED, *words, {"end": True}])
    ended = GateOutcome(kind="finished", reason="", said=said, output="a\n\x1b]0;b\x07\u2028c\0\n", duration_ms=1.0)
    report = runs.report_of(ended, tested, ())
    assert report.output == "a\n\ufffd]0;b\ufffd\ufffdc\ufffd\n"
    (result,) = (each for each in report.results if each.suite == "tiny")
    assert (result.name, result.message) == ("ru\ufffdns x", "no\ufffd \ufffd[2Jpassed\ufffd")
    assert report.reason == f"did not pass the tiny test {result.name!r} (failed): {result.message}"


def test_a_run_that_says_too_much_keeps_what_blocks_and_says_how_much_it_left_out(echo):
    echo()
    tested = ModuleVersion.objects.select_related("module").get(module__name="echo")
    planned = [*(["tiny", f"{number} {'ö' * 190}", True] for number in range(998)), RUNS]
    words = [{"plan": planned}]
    for test in planned:
        words += [{"begin": test}, {"result": [*test, "failed" if test is RUNS else "passed", "€" * 600, 1.0]}]
    said = heard([*STARTED, *words, {"end": True}])
    report = runs.report_of(GateOutcome(kind="finished", reason="", said=said, output="", duration_ms=1.0), tested, ())
    assert len(json.dumps(report.to_json())) < 256_000
    assert not report.passed
    assert report.reason.startswith("did not pass the tiny test 'runs' (failed): €")
    *shown, runs_last, told = report.results
    assert (runs_last.name, told.name, told.blocks) == ("runs", "left out", False)
    assert told.message.startswith(f"{1000 - len(shown) - 1} more results are left out, 0 of them not passed")


SPEAKS = """value
import gc
for each in gc.get_objects():
    if type(each).__name__ == "ResultPipe":
        each.send(result=["gate", "loads", True, "passed", "fine\\0", 1.0])
        each.send(plan=[["tiny", "runs", True]], surprise=float("nan"))
"""


def test_what_code_says_in_the_name_of_the_gate_fails_its_run_which_is_kept_as_text(echo):
    label = echo(SPEAKS)
    report = runs.run_suites("echo", actor="ann")
    row = ModuleTestRun.objects.get()
    assert (row.version, row.passed, report.passed) == (label, False, False)
    loads, ends = row.results
    assert (loads["name"], loads["outcome"], loads["message"]) == ("loads", "passed", "fine\ufffd")
    assert (ends["name"], ends["outcome"]) == ("ends", "killed")
    assert "none of the gate's" in ends["message"]


STARTED = [{"begin": STARTS}, {"lacking": []}, {"begin": LOADS}, {"result": [*LOADS, "passed", "", 1.0]}]
RUNS = ["tiny", "runs", True]


def heard(words: list[dict[str, object]]) -> Transcript:
    said = Transcript(suites=("tiny",))
    for word in words:
        said.hear(json.dumps(word).encode())
    return said


def test_code_that_cannot_be_loaded_has_one_result(echo):
    echo("value\nraise OSError('no disk')")
    report = runs.run_suites("echo", actor="ann")
    assert [(result.name, result.outcome) for result in report.results] == [("loads", "failed")]
    assert report.reason.startswith("could not be imported from ")
    assert report.reason.endswith("OSError: no disk")


def test_code_that_hangs_at_import_could_not_be_loaded(echo, monkeypatch):
    monkeypatch.setattr(runs, "DEFAULTS", Limits(test_s=1.0))
    echo("value\nwhile True: pass")
    report = runs.run_suites("echo", actor="ann")
    assert report.reason == "could not be loaded: it must take at most 1 s, it was ended then"


def test_each_version_can_be_tested_by_label_as_the_newest_and_by_a_number_that_means_one(echo):
    first, second = echo(), echo("(value)", name="echo_again")
    assert first != second
    assert runs.run_suites("echo", first, actor="ann").version == first
    assert runs.run_suites("echo", actor="ann").version == second
    with pytest.raises(SeveralVersions, match=r"1\.0\.0 may be"):
        runs.run_suites("echo", "1.0.0", actor="ann")
    assert [row.version for row in ModuleTestRun.objects.filter(module="echo")] == [second, first]


def test_what_is_tested_are_the_kept_sources_not_the_files_on_disk(echo, code):
    echo()
    code("echo_code", ECHO.format(body="value + 1"))
    assert runs.run_suites("echo", actor="ann").passed


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("oracle",), UnknownModule, "no module is named 'oracle'"),
        (("echo", "9.9.9"), UnknownModule, "module echo has no version 9.9.9; there are 1.0.0"),
        (("echo", "", ["speed"]), ModuleRefused, "must be one of generic, ml, trading, data, risk, tiny, was 'speed'"),
        (("echo", "", []), ModuleRefused, "a test suite must be one of .*, was none"),
    ],
)
def test_an_unknown_name_is_refused_in_one_sentence_and_nothing_is_kept(echo, arguments, error, message: str):
    echo()
    with pytest.raises(error, match=message):
        runs.run_suites(*arguments, actor="ann")
    assert not ModuleTestRun.objects.exists()


def test_a_suite_beside_those_of_the_slot_that_has_no_test_for_the_code_is_refused_and_the_run_kept(echo):
    echo()
    with pytest.raises(ModuleRefused, match=r"suite risk has no test for module echo; .* that gate it are tiny"):
        runs.run_suites("echo", "", ["risk"], actor="ann")
    assert not ModuleTestRun.objects.get().passed


CLAIMS_IDLE = """value
import gc, os
from helios.modules.gate.child import ResultPipe
pipe = [each for each in gc.get_objects() if type(each) is ResultPipe][-1]
pipe.send(result=["gate", "loads", True, "passed", "", 1.0])
pipe.send(idle=["tiny"])
"""


@pytest.mark.parametrize("leaves", ["os._exit(0)", "pipe.send(plan=[]); pipe.send(end=True); os._exit(0)"])
def test_the_run_of_a_candidate_that_says_its_suite_has_no_test_is_kept_as_failed(echo, leaves: str):
    echo(CLAIMS_IDLE + leaves)
    report = runs.run_suites("echo", actor="ann")
    assert (report.passed, ModuleTestRun.objects.get().passed) == (False, False)
    assert "suite tiny has no test for module echo" in report.results[-1].message


def test_a_version_without_kept_sources_is_read_from_disk(echo):
    echo()
    ModuleVersion.objects.filter(module__name="echo").update(code=None)
    assert runs.run_suites("echo", actor="ann").passed


def test_code_under_another_name_is_tested_by_what_it_takes():
    services.register("analyst_two", "tiers.llm", dependencies={}, actor="ann")
    report = runs.run_suites("analyst_two", "", ["risk"], actor="ann")
    assert report.passed, report.reason
    assert {"loads", "conviction is from 0 to 1"} < {result.name for result in report.results}


def test_a_module_that_no_setting_speaks_of_is_gated_by_the_generic_suite():
    assert runs.gates_of("echo") == ("generic",)
    assert runs.gates_of("predict") == ("generic", "ml")


def test_history_is_never_changed():
    row = ModuleTestRun.objects.create(
        module="echo", version="1", passed=True, actor="ann", started_at="2026-01-01T00:00Z", duration_ms=1
    )
    with connection.cursor() as cursor:  # as in production: the tests' own connection may clean such tables
        cursor.execute("SET LOCAL helios.maintenance = 'off'")
    for change in (lambda: ModuleTestRun.objects.update(passed=False), row.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert str(row) == "echo 1: passed"


def test_the_database_refuses_a_run_of_nothing():
    for changes in ({"module": ""}, {"duration_ms": -1}):
        values = {"module": "echo", "version": "1", "passed": True, "actor": "ann", "duration_ms": 1}
        with pytest.raises(DatabaseError), transaction.atomic():
            ModuleTestRun.objects.create(**{**values, **changes}, started_at="2026-01-01T00:00Z")


@pytest.mark.parametrize("stage", STAGES)
def test_every_shipped_tier_passes_its_gates(stage: str, monkeypatch):
    monkeypatch.setattr(runs, "DEFAULTS", Limits(time_s=240, test_s=120))
    services.restore_shipped()
    services.register(stage, f"tiers.{stage}", actor="ann")
    report = runs.run_suites(stage, actor="ann")
    assert report.passed, report.reason
    assert not [result.message for result in report.results if result.outcome != "passed" and result.name != FAST]
    assert {result.suite for result in report.results} == {"gate", *runs.gates_of(stage)}


FAST = "one call is fast"  # the one property that a busy machine may cost

# --- at the terminal and in the admin ---


def test_the_table_shows_each_test_and_one_closing_sentence(echo):
    label = echo()
    told = printed(runs.run_suites("echo", actor="ann").to_json())
    assert f"echo {label}: tiny" in told
    assert "it should be nice" in told
    assert f"echo {label} passed: 6 of 7 tests passed in " in told
    assert told.endswith("; 1 optional did not")


def test_a_failed_run_shows_why_and_what_the_code_printed(echo):
    echo("print('[bold]loud[/bold]')")
    report = runs.run_suites("echo", actor="ann")
    told = printed(report.to_json())
    assert "did not pass the tiny test 'runs' (failed)" in told
    assert "[bold]loud[/bold]" in told
    assert summary(report.to_json()) in told.replace("\n", " ")


def test_the_admin_lists_runs_and_shows_one_read_only(client):
    client.force_login(get_user_model().objects.create_superuser("ann", password="a-long-password"))
    result = {"name": "runs", "suite": "tiny", "required": True, "outcome": "failed", "duration_ms": 1.5}
    run = {
        "module": "echo",
        "version": "1.0.0+abc",
        "passed": False,
        "results": [{**result, "message": "<b>no</b>"}],
        "actor": "ann",
        "started_at": "2026-01-01T00:00Z",
        "duration_ms": 1234,
    }
    row, *_ = [ModuleTestRun.objects.create(**run) for _ in range(11)]
    listed = client.get(reverse("admin:modules_moduletestrun_changelist"), {"all": ""}).content.decode()
    assert listed.count("0 of 1") == 10
    assert "runs: &lt;b&gt;no&lt;/b&gt;" in listed
    page = client.get(reverse("admin:modules_moduletestrun_change", args=[row.pk])).content.decode()
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "1.2 s" in page
    assert 'name="_save"' not in page
    assert client.post(reverse("admin:modules_moduletestrun_delete", args=[row.pk])).status_code == 403
