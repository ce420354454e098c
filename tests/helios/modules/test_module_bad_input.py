"""Code that does harm when it is imported or called meets the gate's process first: workers and caller never run it."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from helios.modules import loading, process, services
from helios.modules.errors import ModuleLoadFailed, SwapFailed
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleSwap, ModuleVersion

pytestmark = pytest.mark.django_db

HEAD = "VERSION = '1.1.0'\ndef run(value): return value\n"


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch):
    monkeypatch.setattr(runs, "DEFAULTS", replace(runs.DEFAULTS, time_s=30.0, test_s=6.0, memory_mb=700))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no model here')\n", "RuntimeError: no model here"),
        ("while True: pass\n", "6 s"),
        ("import sys; sys.exit(3)\n", "SystemExit: 3"),
        ("import os; os._exit(0)\n", "left with status 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", "SIGKILL"),
        ("held = []\nwhile True: held.append(bytearray(10_000_000))\n", "[mM]emory|ended then"),
    ],
)
def test_code_that_does_harm_at_import_is_failed_and_this_process_never_runs_it(code, source: str, reason: str):
    row = services.register("oracle", code("oracle", HEAD + source))
    with pytest.raises(ModuleLoadFailed, match=reason):
        services.load("oracle")
    assert Module.objects.get(name="oracle").state == "FAILED"
    assert loading.loaded_copy("oracle", row.digest) is None
    assert loading.copy_name("oracle", row.digest) not in sys.modules


def test_garbage_printed_at_import_does_no_harm(code):
    noise = "import sys\nfor n in range(20_000): print('{\"end\": true}', '\\0', n)\nsys.stderr.write('x' * 99_999)\n"
    services.register("oracle", code("oracle", HEAD + noise))
    assert services.load("oracle").state == "LOADED"


def test_a_swap_to_code_that_leaves_fails_and_the_one_in_use_serves_on(code):
    services.register("oracle", code("oracle"))
    services.activate("oracle")
    leaves = services.register("oracle", code("oracle", HEAD + "import os; os._exit(0)\n"))
    with pytest.raises(SwapFailed, match="did not pass its tests"):
        services.swap("oracle", leaves.label, actor="ann", suites=["generic"])
    assert ModuleSwap.objects.get().state == "FAILED"
    assert ModuleVersion.objects.get(pk=leaves.pk).state == "FAILED"
    process.refresh_if_behind()
    assert process.resolve("oracle").implementation.run(1) == ("1.0.0", 1)
