"""The house stands as drawn: floors, pure stages, lengths. A rule counts only if breaking it is noticed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.purity import FLOORS, contracts, file_of, imported, impurities, reached

STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")
SEEDS = sorted({name for contract in contracts() for name in contract["source_modules"]})
PURE = sorted(reached(SEEDS))
OTHER_FLOORS = ("helios", "trading", "sentinel")
# What must be under the rules, by itself or behind a facade: a contract that loses one of them is noticed here.
CORES = (
    *(f"helios.flags.core.{name}" for name in ("evaluation", "definition", "buckets")),
    *("helios.breakers.core.sliding_window", "helios.modules.core", "helios.rollouts.core.machine"),
    *("sentinel.audits.accounts", "trading.strategies.sma_cross", "trading.venues.paper.matching"),
    *(f"tiers.backtest.{name}" for name in ("metrics", "exact", "engine", "decide", "history")),
    *(f"tiers.challenge.{name}" for name in ("merge", "merge_orders", "observations")),
    *(f"tiers.{stage}" for stage in STAGES),
)


def test_every_import_rule_of_the_house_is_kept() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_every_core_is_held_to_the_rules_and_may_not_reach_a_framework_by_way_of_others() -> None:
    assert set(CORES) <= set(PURE)
    assert [each["name"] for each in contracts() if each.get("allow_indirect_imports")] == []
    assert {"celery", "kombu", "redis", "psycopg2", "rest_framework"} <= set(frameworks())


@pytest.mark.parametrize("name", PURE)
def test_pure_code_reads_no_clock_no_chance_and_no_environment(name: str) -> None:
    path = file_of(name)
    assert path
    assert list(impurities(path.read_text())) == []


def test_pure_code_is_importable_where_no_framework_is_loaded() -> None:
    program = (
        "import importlib, sys\n"
        f"for name in {PURE!r}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = [each for each in {frameworks()!r} if each in sys.modules]\n"
        "    if loaded: sys.exit(f'{name} loads {loaded}')"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def frameworks() -> list[str]:
    """What no pure module may load."""
    return sorted({name for each in contracts() for name in each["forbidden_modules"]} - set(FLOORS))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_floor(stage: str) -> None:
    found = {
        path.name: names
        for path in (ROOT / "tiers" / stage).rglob("*.py")
        if (names := [name for name in imported(path.read_text()) if name.split(".")[0] in OTHER_FLOORS])
    }
    assert found == {}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "predict"])
def test_torch_is_loaded_by_predict_only(stage: str) -> None:
    sources = [path.read_text() for path in (ROOT / "tiers" / stage).rglob("*.py")]
    assert not any("import torch" in source or "from torch" in source for source in sources)


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import datetime; datetime.now(tz=UTC)",
        "import datetime as dt; dt.datetime.now()",
        "from datetime import datetime as moment; moment.utcnow()",
        "from datetime import date; date.today()",
        "from datetime import datetime; field(default_factory=datetime.now)",
        "import time; time.perf_counter()",
        "import time\ndef f(clock=time.monotonic): ...",
        "from time import monotonic as clock; clock()",
        "import os; os.environ['HOME']",
        "import os; 'HOME' in os.environ",
        "from os import environ; dict(environ)",
        "import os; os.getenv('HOME')",
        "import random; random.shuffle(x)",
        "from random import Random; Random()",
        "import numpy as np; np.random.default_rng()",
        "import numpy as np; np.random.normal(size=3)",
        "from numpy.random import default_rng; default_rng()",
        "import uuid; uuid.uuid4()",
        "from secrets import token_hex; token_hex()",
        "from django.utils import timezone; timezone.now()",
    ],
)
def test_the_purity_check_notices(line: str) -> None:
    assert list(impurities(line))


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np; np.random.default_rng(7)",
        "import numpy as np; np.random.default_rng(seed=7)",
        "import numpy as np\ndef f(rng: np.random.Generator): rng.normal()",
        "from random import Random; Random(7)",
        "from datetime import datetime, time; datetime.combine(day, time())",
        "step.time(); clock.now()",
    ],
)
def test_the_purity_check_lets_pass(line: str) -> None:
    assert list(impurities(line)) == []


def test_a_facade_is_held_to_the_rules_with_all_it_stands_for(tmp_path: Path) -> None:
    house = {
        "floor/__init__.py": "",
        "floor/core.py": "from floor.room import fact\nfrom .beside import other",
        "floor/beside.py": "def other():\n    import floor.deep",
        "floor/room/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import floor.types_only",
        "floor/room/fact.py": "",
        "floor/deep.py": "",
        "floor/types_only.py": "",
        "floor/unasked.py": "",
    }
    for name, source in house.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    beyond = {"floor", "floor.room", "floor.room.fact", "floor.beside", "floor.deep"}
    assert reached(["floor.core"], tmp_path) == {"floor.core"} | beyond
    assert reached(["floor.room"], tmp_path) == {"floor", "floor.room", "floor.room.fact"}


def _lengths():
    spec = importlib.util.spec_from_file_location("lengths", ROOT / ".ci" / "lengths.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_file_and_no_function_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lengths = _lengths()
    roots = ("helios", "trading", "tiers", "sentinel", "tests", "celery_app.py", "manage.py")
    assert [line for path in lengths.python_files(roots) for line in lengths.too_long(path)] == []


def test_the_length_check_notices_a_long_file_and_a_long_function(tmp_path: Path) -> None:
    body = "".join(f"    x{n} = {n}\n" for n in range(70))
    path = tmp_path / "long.py"
    path.write_text(f"def long():\n{body}" + "y = 1\n" * 400)
    found = _lengths().too_long(path)
    assert [line.split(": ", 1)[1] for line in found] == [
        "file has 471 lines, at most 400",
        "long has 71 lines, at most 60",
    ]
