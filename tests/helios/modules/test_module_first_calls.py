"""What a switch costs the first task after it: the shipped tiers have compiled theirs when they are loaded."""

from __future__ import annotations

import pytest

from tests.support import warm

ASKS = """
import importlib, sys
from numba.core.dispatcher import Dispatcher
from tiers.gates.calls import CALLS

slot = sys.argv[1]
tier = importlib.import_module(f"tiers.{slot}")

def compiled():
    modules = [each for name, each in sys.modules.items() if name.startswith(f"tiers.{slot}.")]
    found = {v.py_func.__qualname__: len(v.signatures) for m in modules for v in vars(m).values()
             if isinstance(v, Dispatcher)}
    return {name: n for name, n in found.items() if n}

tier.on_load()
before = compiled()
call = CALLS[slot](1)
tier.run(*call.args, **call.kwargs)
assert before, "nothing was compiled when it was loaded"
assert compiled() == before, f"compiled by the first call: {compiled()}, when loaded: {before}"
"""


@pytest.mark.parametrize("slot", ["risk", "portfolio"])
def test_the_first_call_of_a_tier_compiles_nothing(slot: str):
    done = warm.run(["-c", ASKS, slot])
    assert done.returncode == 0, done.stderr
