"""What a module prints or raises is shown and stored without secrets, wherever it comes to light."""

from __future__ import annotations

import json

import pytest
from django.conf import settings as of_django

from helios.errors import error_text
from helios.events.models import SystemEvent
from helios.modules import process, services, watch
from helios.modules.errors import ModuleLoadFailed, WatchedCallFailed
from helios.modules.models import Module, ModuleSwap, ModuleTestRun, ModuleVersion
from tests.support.people import Api

pytestmark = pytest.mark.django_db

PASSWORD = "hunter2-hunter2"
LEAKS = f"""VERSION = "1.0.0"
print("at import: password={PASSWORD}")
def run(value):
    raise ValueError("postgresql://helios:{PASSWORD}@db/helios")
"""


def test_a_test_run_keeps_and_tells_no_secret(code, tiny):
    services.register("echo", code("echo_code", LEAKS), actor="ann")
    with pytest.raises(ModuleLoadFailed, match="postgresql://helios:") as refused:
        services.load("echo", actor="ann")
    row = ModuleTestRun.objects.get()
    assert "at import: password=***" in row.output
    events = list(SystemEvent.objects.filter(subject="echo").values_list("data", flat=True))
    kept = json.dumps([row.results, row.output, events, ModuleVersion.objects.get(module__name="echo").error])
    assert PASSWORD not in kept + str(refused.value)


def test_a_watched_failure_keeps_no_secret_of_the_process(oracle):
    secret = of_django.SECRET_KEY
    services.swap("oracle", "1.1.0", actor="ann")
    process.refresh_if_behind()
    found = process.resolve("oracle")
    found.implementation.run = lambda *_: 1 / 0 if not secret else (_ for _ in ()).throw(ValueError(f"it is {secret}"))
    with pytest.raises(WatchedCallFailed, match=r"it is \*\*\*"):
        watch.guarded(found).run(1)
    assert watch.flush() == ["oracle"]
    rolled_back = ModuleSwap.objects.exclude(error="")
    assert rolled_back.exists()
    slot = Module.objects.get(name="oracle")
    kept = [*rolled_back.values_list("error", "reason"), *slot.versions.values_list("error"), slot.error]
    events = list(SystemEvent.objects.filter(subject="oracle").values_list("data", flat=True))
    assert secret not in json.dumps([kept, events])


def test_a_refusal_over_http_shows_no_secret(trader: Api, code):
    bad = code("bad", f"VERSION = ['password={PASSWORD}']\ndef run(value): ...\n")
    answer = trader.post("modules/register", {"name": "bad", "path": bad, "new_slot": True})
    assert answer.status_code == 422
    assert PASSWORD not in answer.content.decode()


def test_a_reason_is_redacted_before_it_is_cut():
    assert error_text(ValueError(f"password={'x' * 1_990}{PASSWORD}")) == "ValueError: password=***"
