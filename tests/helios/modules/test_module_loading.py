"""Code beside code: two contents of one module live in one process, and neither reaches into the other."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
import uuid
from pathlib import Path

import pytest

from helios.modules import loading, sources
from helios.modules.core import import_rewriting
from helios.modules.core.import_rewriting import Names
from helios.modules.errors import ModuleLoadFailed, ModuleRefused
from tests.support import warm
from tests.support.together import at_once

NAMES = Names(own="tiers.risk", copy="helios_modules.risk_0123456789ab")


@pytest.fixture
def beside(tmp_path: Path):
    """Load files as a content of a slot; everything is forgotten after the test."""
    made: list[tuple[str, str]] = []

    def load(
        files: dict[str, str], *, slot: str = "risk", path: str = "scratch.risk", version: str = "", packages=None
    ):
        raw = {name: text.encode() for name, text in files.items()}
        digest = sources.digest_of(path, raw)
        made.append((slot, digest))
        return loading.load_code(slot, digest, raw, path, version=version, root=tmp_path, packages=packages)

    yield load
    for slot, digest in made:
        loading.forget_code(slot, digest)


def package(number: int, **more: str) -> dict[str, str]:
    main = "from scratch.risk.limits import LIMIT\nVERSION = '1.0.0'\ndef run():\n    return LIMIT\n"
    return {"__init__.py": main, "limits.py": f"LIMIT = {number}\n", **{f"{k}.py": v for k, v in more.items()}}


def test_two_contents_live_side_by_side(beside):
    one, two = beside(package(1)), beside(package(2))
    assert (one.run(), two.run()) == (1, 2)
    assert one.__name__ != two.__name__
    assert one.__name__.startswith("helios_modules.risk_")


@pytest.mark.parametrize("component", ["maintenance", "web"])
def test_who_runs_no_tiers_loads_no_code(beside, monkeypatch, component):
    monkeypatch.setenv("HELIOS_COMPONENT", component)
    with pytest.raises(ModuleLoadFailed, match=f"must be loaded by workers of cycles alone, not by {component}"):
        beside(package(1))


def test_contents_whose_hashes_begin_alike_stay_apart_whatever_becomes_of_one(beside, monkeypatch):
    real = sources.digest_of
    monkeypatch.setattr(sources, "digest_of", lambda path, files: f"{'0' * 32}{real(path, files)[32:]}")
    late = "VERSION = '1.0.0'\ndef run():\n    from .limits import LIMIT\n    return LIMIT\n"
    one = beside({**package(1), "__init__.py": late}, version="1.0.0")
    with pytest.raises(ModuleLoadFailed, match=r"is registered as 1.0.1, but the code in scratch.risk is 1.0.0"):
        beside({**package(2), "__init__.py": late}, version="1.0.1")
    two = beside({**package(3), "__init__.py": late}, version="1.0.0")
    assert (one.run(), two.run()) == (1, 3)


def test_slots_whose_names_differ_by_a_dash_have_copies_of_their_own(beside):
    one, two = beside(package(1), slot="risk-two"), beside(package(1), slot="risk_two")
    assert one is not two
    assert (one.run(), two.run()) == (1, 1)


def test_the_same_content_is_loaded_once(beside):
    assert beside(package(1)) is beside(package(1))


def test_the_running_package_is_neither_imported_nor_changed(beside):
    running = importlib.import_module("tiers.execute")
    artefact = sources.read("tiers.execute", ["tiers"])
    copy = loading.load_code("execute_copy", artefact.digest, artefact.files, "tiers.execute")
    try:
        assert copy is not running
        assert copy.run is not running.run
        assert copy.run.__module__.startswith("helios_modules.execute_copy_")
        assert sys.modules["tiers.execute"] is running
    finally:
        loading.forget_code("execute_copy", artefact.digest)


def test_a_traceback_names_the_file_and_line_as_written(beside):
    copy = beside(package(1, faults="def fail():\n    # the next line is the third\n    raise ValueError('here')\n"))
    faults = importlib.import_module(f"{copy.__name__}.faults")
    with pytest.raises(ValueError, match="here") as caught:
        faults.fail()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (Path(frame.filename).name, frame.lineno) == ("faults.py", 3)
    assert "raise ValueError" in str(frame.line)


def test_a_file_that_is_imported_late_comes_from_the_same_content(beside):
    late = "VERSION = '1.0.0'\ndef run():\n    from .limits import LIMIT\n    return LIMIT\n"
    one = beside({**package(1), "__init__.py": late})
    two = beside({**package(2), "__init__.py": late})
    assert (two.run(), one.run()) == (2, 1)


def test_dataclasses_with_late_annotations_and_data_files_work(beside):
    main = (
        "from __future__ import annotations\nimport json\nfrom dataclasses import dataclass\n"
        "from importlib import resources\nfrom pathlib import Path\nVERSION = '1.0.0'\n"
        "@dataclass(frozen=True, slots=True, kw_only=True)\nclass Limit:\n    value: int\n"
        "def run():\n    near = json.loads((Path(__file__).parent / 'bounds.json').read_text())\n"
        "    return Limit(value=near), json.loads(resources.files(__package__).joinpath('bounds.json').read_text())\n"
    )
    limit, again = beside({"__init__.py": main, "bounds.json": "3"}).run()
    assert (limit.value, again) == (3, 3)


def test_a_single_file_is_loaded_as_a_module_and_its_siblings_are_shared(beside):
    text = "from .errors import HeliosError\nVERSION = '1.0.0'\ndef run():\n    return HeliosError\n"
    copy = beside({"trend.py": text}, path="helios.trend")
    assert copy.run() is importlib.import_module("helios.errors").HeliosError
    assert not hasattr(copy, "__path__")


@pytest.mark.parametrize("when", ["at import", "in a call"])
@pytest.mark.parametrize(
    "statement",
    [
        "from {own} import aside",
        "from .. import aside",
        "import {own}.aside",
        "import importlib; importlib.import_module('{own}.aside')",
        "__import__('{own}.aside')",
        "import importlib; importlib.import_module('{own}.trend.limits')",  # its own, as it lies on disk
    ],
)
def test_files_beside_a_module_that_nobody_hashed_are_not_imported(
    beside, tmp_path, monkeypatch, statement: str, when: str
):
    own = f"scratch_{uuid.uuid4().hex[:8]}"
    for name in ("__init__", "aside", "trend/__init__", "trend/limits"):
        (tmp_path / own / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / own / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    main = f"VERSION = '1.0.0'\ndef run():\n    {statement.format(own=own)}\n{'run()' if when == 'at import' else ''}\n"
    with pytest.raises((ModuleLoadFailed, ImportError), match=rf"and libraries, not {own}: put what it needs of that"):
        beside({"__init__.py": main}, path=f"{own}.trend", packages=["tiers", own]).run()
    assert own not in sys.modules


def test_a_module_imports_what_ships_with_helios_and_libraries_at_any_time(beside):
    main = "import tiers.predict\nVERSION = '1.0.0'\ndef run():\n    import numpy, tiers.llm, helios\n    return 1\n"
    assert beside({"__init__.py": main}, packages=["tiers", "trading", "scratch_closed"]).run() == 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"__init__.py": "VERSION = '1.0.0'\nrun = 1\n"}, "must have run, a function"),
        ({"__init__.py": "def run(): ...\n"}, "must have VERSION, a string, in scratch.risk; it was None"),
        ({"__init__.py": "VERSION = 'x'\ndef run(): ...\n"}, "has a bad VERSION"),
        ({"__init__.py": "VERSION = '2.0.0'\ndef run(): ...\n"}, "is registered as 1.0.0, but the code in"),
        ({"__init__.py": "raise KeyError('x')\n"}, "could not be imported from scratch.risk: KeyError"),
        ({"__init__.py": "raise SystemExit\n"}, "could not be imported from scratch.risk: SystemExit"),
        ({"__init__.py": "from . import nothing\n"}, "could not be imported from scratch.risk: ImportError"),
        (
            {"__init__.py": "import scratch.risk.limits\n"},
            "could not be .*: line 1: a module must import its own code as `from",
        ),
        ({"__init__.py": "VERSION = '1.0.0'\ndef run(): ...\non_activate = 1\n"}, "may have on_activate as a function"),
    ],
)
def test_what_cannot_serve_is_refused_and_leaves_nothing_behind(beside, files: dict[str, str], reason: str):
    before = {name for name in sys.modules if name.startswith("helios_modules.")}
    with pytest.raises(ModuleLoadFailed, match=f"module risk {reason}"):
        beside({**package(1), **files}, version="1.0.0")
    assert {name for name in sys.modules if name.startswith("helios_modules.")} == before


def test_a_content_that_failed_can_be_loaded_once_its_surroundings_are_mended(beside, tmp_path, monkeypatch):
    files = {"__init__.py": "import scratch_later_on\nVERSION = '1.0.0'\ndef run(): return 1\n"}
    with pytest.raises(ModuleLoadFailed, match="ModuleNotFoundError"):
        beside(files)
    (tmp_path / "scratch_later_on.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert beside(files).run() == 1


def test_files_that_are_not_those_of_the_digest_are_refused(tmp_path):
    with pytest.raises(ModuleLoadFailed, match="module risk must have the content 000000000000, its files are others"):
        loading.load_code("risk", "0" * 64, {"__init__.py": b""}, "scratch.risk", root=tmp_path)


def test_files_that_would_lie_outside_of_the_package_are_refused(tmp_path):
    files = {"__init__.py": b"", "../escape.py": b""}
    with pytest.raises(ModuleLoadFailed, match="must lie in its package"):
        loading.load_code("risk", sources.digest_of("a.b", files), files, "a.b", root=tmp_path / "root")
    assert not (tmp_path / "root" / "escape.py").exists()


def test_what_was_damaged_on_disk_is_laid_out_again(beside, tmp_path):
    copy = beside(package(1))
    file = Path(copy.__file__).parent / "limits.py"
    digest = file.parent.parent.name
    file.write_text("LIMIT = 666\n")
    loading.forget_code("risk", digest)
    assert beside(package(1)).run() == 1
    assert file.read_text() == "LIMIT = 1\n"
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def test_what_lies_beside_an_approved_module_never_runs_and_is_taken_away(beside, tmp_path):
    late = "VERSION = '1.0.0'\ndef run():\n    from . import planted\n    return planted.LIMIT\n"
    copy = beside({**package(1), "__init__.py": late})
    folder = Path(copy.__file__).parent
    (folder / "planted.py").write_text("LIMIT = 666\n")
    (folder / "limits").mkdir()
    (folder / "limits" / "__init__.py").write_text("LIMIT = 666\n")
    with pytest.raises(ImportError, match="planted"):
        copy.run()
    loading.forget_code("risk", folder.parent.name)
    beside({**package(1), "__init__.py": late})
    assert sorted(each.name for each in folder.iterdir()) == ["__init__.py", "limits.py"]


def test_code_that_is_changed_on_disk_after_it_was_checked_is_not_what_runs(beside):
    late = "VERSION = '1.0.0'\ndef run():\n    from .limits import LIMIT\n    return LIMIT\n"
    copy = beside({**package(1), "__init__.py": late})
    (Path(copy.__file__).parent / "limits.py").write_text("LIMIT = 666\n")
    assert copy.run() == 1


def test_a_link_in_the_place_of_a_file_is_laid_out_again(beside, tmp_path):
    file = Path(beside(package(1)).__file__).parent / "limits.py"
    file.rename(tmp_path / "elsewhere.py")
    file.symlink_to(tmp_path / "elsewhere.py")
    loading.forget_code("risk", file.parent.parent.name)
    beside(package(1))
    assert not file.is_symlink()


def test_threads_that_ask_at_once_get_one_copy(beside):
    found = at_once(lambda _: beside(package(5)), range(8))
    assert len({id(each) for each in found}) == 1


LOADS = """
import sys
from pathlib import Path
from helios.modules import sources, loading
files = {"__init__.py": b"VERSION = '1.0.0'\\ndef run(): return 7\\n", **{f"p{n}.py": b"#" * 9999 for n in range(40)}}
digest = sources.digest_of("scratch.risk", files)
print(loading.load_code("risk", digest, files, "scratch.risk", root=Path(sys.argv[1])).run())
"""


def test_processes_that_lay_out_the_same_code_at_once_do_not_disturb_each_other(tmp_path):
    children = [warm.begin(["-c", LOADS, str(tmp_path)]) for _ in range(4)]
    assert [child.end().stdout for child in children] == ["7\n"] * 4
    assert len(list(tmp_path.iterdir())) == 1


def test_numba_keeps_what_it_compiled_beside_the_copy(beside):
    fast = "import numba\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n"
    main = "from scratch.risk.fast import double as run\nVERSION = '1.0.0'\n"
    copy = beside({"__init__.py": main, "fast.py": fast})
    assert copy.run(21) == 42
    assert list((Path(copy.__file__).parent / "__pycache__").glob("fast.double*.nbc"))


def test_old_copies_go_and_those_in_use_stay(beside):
    digests = [Path(beside(package(number)).__file__).parent.parent.name for number in range(loading.KEPT + 3)]
    loading.forget_old({"risk": [digests[0]]})
    kept = [digest for slot, digest in loading.loaded() if slot == "risk"]
    assert kept == [digests[0], *digests[-loading.KEPT :]]


# --- rewriting ---


def turned(source: str, package: str = "tiers.risk") -> str:
    return ast.unparse(import_rewriting.rewritten(ast.parse(source), NAMES, package))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from tiers.risk.limits import x", "from helios_modules.risk_0123456789ab.limits import x"),
        ("from tiers.risk import limits, kelly", "from helios_modules.risk_0123456789ab import limits, kelly"),
        ("import tiers.risk.limits as l", "import helios_modules.risk_0123456789ab.limits as l"),
        ("import tiers.risk as own", "import helios_modules.risk_0123456789ab as own"),
        ("from .limits import x", "from helios_modules.risk_0123456789ab.limits import x"),
        ("from . import limits", "from helios_modules.risk_0123456789ab import limits"),
        ("from ..contracts import Bars", "from tiers.contracts import Bars"),
        ("from tiers import risk", "from helios_modules import risk_0123456789ab as risk"),
        (
            "from tiers import risk as r, contracts",
            "from helios_modules import risk_0123456789ab as r\nfrom tiers import contracts",
        ),
        ("from tiers.contracts import Bars", "from tiers.contracts import Bars"),
        ("from tiers.riskier import x", "from tiers.riskier import x"),
        ("import numpy as np, tiers.contracts", "import numpy as np, tiers.contracts"),
        ("def f():\n    from tiers.risk import x", "def f():\n    from helios_modules.risk_0123456789ab import x"),
    ],
)
def test_imports_of_its_own_package_are_turned_and_no_others(source: str, expected: str):
    assert turned(source) == expected


def test_relative_imports_of_inner_packages_and_single_files_find_their_way():
    assert (
        turned("from ..limits import x", "tiers.risk.deep") == "from helios_modules.risk_0123456789ab.limits import x"
    )
    assert turned("from .contracts import Bars", "tiers") == "from tiers.contracts import Bars"


def test_a_plain_import_of_its_own_code_is_refused_by_line():
    with pytest.raises(ModuleRefused, match=r"line 2: a module must import its own code as `from tiers.risk.limits"):
        turned("import os\nimport tiers.risk.limits")


@pytest.mark.parametrize("dots", ["...", "...."])
def test_a_relative_import_out_of_the_top_package_is_refused(dots: str):
    with pytest.raises(ModuleRefused, match="line 1: a relative import must stay below the top package"):
        turned(f"from {dots}x import y")


def test_line_numbers_stay():
    tree = import_rewriting.rewritten(ast.parse("\n\nfrom tiers import risk, contracts\nx = 1\n"), NAMES, "tiers.risk")
    assert [node.lineno for node in tree.body] == [3, 3, 4]
