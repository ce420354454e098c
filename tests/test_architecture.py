"""The house stands as drawn: floors, pure stages, lengths. A rule counts only if breaking it is noticed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")
PURE_FILES = sorted(
    [path for stage in STAGES for path in (ROOT / "tiers" / stage).rglob("*.py")]
    + [ROOT / "helios" / "flags" / "core.py"]
    + [ROOT / "helios" / "breakers" / f"{name}.py" for name in ("core", "config", "window")]
    + [ROOT / "trading" / "accounting.py", ROOT / "trading" / "brokers" / "paper.py"]
    + list((ROOT / "trading" / "strategies").rglob("*.py"))
    + list((ROOT / "sentinel" / "audits").rglob("*.py"))
    + [
        ROOT / "helios" / "rollouts" / f"{name}.py"
        for name in ("core", "plan", "machine", "measures", "statistics", "guards", "verdict")
    ]
)
FOREIGN = (
    "django",
    "celery",
    "kombu",
    "redis",
    "psycopg2",
    "trading",
    "helios",
    "sentinel",
    "rest_framework",
)
# Where time, chance and the environment come from: a pure function takes them as arguments.
IMPURE_CALLS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today", "timezone.now"),
    *(
        "os.getenv",
        "os.environ.get",
        "uuid.uuid1",
        "uuid.uuid4",
        "secrets.token_hex",
        "secrets.token_urlsafe",
    ),
    *("random.random", "random.randint", "random.choice", "random.shuffle", "random.seed"),
    *("np.random.rand", "np.random.randn", "np.random.seed", "np.random.normal", "np.random.random"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        front = dotted(node.value)
        return f"{front}.{node.attr}" if front else ""
    return ""


def impurities(source: str) -> Iterator[str]:
    """Reads of clock, chance or environment in a module's source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and dotted(node.func) in IMPURE_CALLS:
            yield f"line {node.lineno}: {dotted(node.func)}()"
        if isinstance(node, ast.Call) and dotted(node.func).endswith("default_rng") and not node.args:
            yield f"line {node.lineno}: default_rng() without a seed"
        if isinstance(node, ast.Subscript) and dotted(node.value) == "os.environ":
            yield f"line {node.lineno}: os.environ[]"
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "random", "secrets"}:
            yield f"line {node.lineno}: from {node.module} import"


def foreign_imports(source: str) -> Iterator[str]:
    """Imports of frameworks, servers and other floors in a module's source, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
        yield from (f"line {node.lineno}: {name}" for name in names if name.split(".")[0] in FOREIGN)


def test_every_import_rule_of_the_house_is_kept() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pure_code_reads_no_clock_no_chance_and_no_environment(path: Path) -> None:
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_framework_and_no_other_floor(stage: str) -> None:
    found = {
        path.name: imports
        for path in (ROOT / "tiers" / stage).rglob("*.py")
        if (imports := list(foreign_imports(path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_can_be_imported_where_django_is_not_set_up(stage: str) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "tiers" / stage).rglob("*.py"))
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print([m for m in ('django', 'celery', 'redis', 'psycopg2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "predict"])
def test_torch_is_loaded_by_predict_only(stage: str) -> None:
    sources = [path.read_text() for path in (ROOT / "tiers" / stage).rglob("*.py")]
    assert not any("import torch" in source or "from torch" in source for source in sources)


@pytest.mark.parametrize(
    "line",
    [
        "datetime.now(tz=UTC)",
        "time.perf_counter()",
        "os.environ['HOME']",
        "os.getenv('HOME')",
        "np.random.default_rng()",
        "from time import monotonic",
        "np.random.normal(size=3)",
    ],
)
def test_the_purity_check_notices(line: str) -> None:
    assert list(impurities(f"def stage():\n    x = 1\n{line}\n"))


def test_the_purity_check_lets_a_seeded_generator_pass() -> None:
    assert list(impurities("np.random.default_rng(7)")) == []


def test_the_import_check_notices_an_import_inside_a_function() -> None:
    assert list(foreign_imports("def f():\n    from django.db import models")) == ["line 2: django.db"]


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
