"""Sources are found without an import, read within bounds, named by their content."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.control import bounds
from helios.modules import services, sources
from helios.modules.errors import ModuleRefused

names = st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6})?\.(py|json)", fullmatch=True)
trees = st.dictionaries(names, st.binary(max_size=40), min_size=1, max_size=5)


@pytest.fixture
def top(tmp_path: Path, monkeypatch) -> Path:
    """The folder of a top package that nobody has imported."""
    folder = tmp_path / "scratch_top"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        target = folder / name.replace("__init", "__init__").replace("__dot__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".py").write_text(text)


def read(path: str) -> sources.SourceCode:
    return sources.read(path, ["scratch_top"])


def test_a_package_is_read_with_its_data_and_without_what_was_compiled(top: Path):
    (top / "risk" / "tables").mkdir(parents=True)
    (top / "risk" / "__pycache__").mkdir()
    for name, text in {
        "__init__.py": "VERSION = '1.0.0'",
        "limits.py": "LIMIT = 1",
        "tables/bounds.json": "{}",
        "__pycache__/limits.pyc": "x",
        "fast.so": "x",
        ".hidden": "x",
    }.items():
        (top / "risk" / name).write_text(text)
    found = read("scratch_top.risk")
    assert sorted(found.files) == ["__init__.py", "limits.py", "tables/bounds.json"]
    assert found.size_bytes == len("VERSION = '1.0.0'LIMIT = 1{}")
    assert "scratch_top" not in sys.modules


def test_a_single_file_is_a_module_too(top: Path):
    (top / "trend.py").write_text("VERSION = '1.0.0'")
    assert dict(read("scratch_top.trend").files) == {"trend.py": b"VERSION = '1.0.0'"}


def test_a_shipped_tier_reads_as_it_lies_on_disk():
    found = sources.read("tiers.risk", ["tiers"])
    assert "sizing.py" in found.files
    assert sources.declaration_of(found).version.count(".") == 2


@given(trees, trees)
def test_contents_have_the_same_name_exactly_when_they_are_the_same(one: dict[str, bytes], other: dict[str, bytes]):
    same = sources.digest_of("tiers.risk", one) == sources.digest_of("tiers.risk", other)
    assert same == (one == other)


@given(trees)
def test_the_order_of_files_does_not_matter_and_the_path_does(files: dict[str, bytes]):
    backwards = dict(reversed(files.items()))
    assert sources.digest_of("tiers.risk", files) == sources.digest_of("tiers.risk", backwards)
    assert sources.digest_of("tiers.risk", files) != sources.digest_of("tiers.risc", files)


def test_the_border_between_name_and_content_counts():
    assert sources.digest_of("t", {"a.py": b"b"}) != sources.digest_of("t", {"a.pyb": b""})


@given(trees)
def test_files_come_back_from_the_database_as_they_were(files: dict[str, bytes]):
    assert sources.unpacked(sources.packed(files)) == files


def test_text_stays_readable_and_zero_bytes_do_not_reach_postgresql():
    stored = sources.packed({"a.py": "ü = 1".encode(), "b.bin": b"\xff", "c.txt": b"a\0b"})
    assert stored == {"a.py": "ü = 1", "b.bin": {"base64": "/w=="}, "c.txt": {"base64": "YQBi"}}


@pytest.mark.parametrize("path", ["scratch_top.nowhere", "scratch_top.risk.deeper", "scratch_none.risk"])
def test_a_path_to_nothing_is_refused(top: Path, path: str):
    with pytest.raises(ModuleRefused, match=f"code must lie where {path} points to, nothing was found there"):
        sources.read(path, ["scratch_top", "scratch_none"])


def test_links_are_refused_wherever_they_stand(top: Path, tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "__init__.py").write_text("VERSION = '1.0.0'")
    (top / "linked").symlink_to(tmp_path / "outside")
    with pytest.raises(ModuleRefused, match="must not contain links, linked is one"):
        read("scratch_top.linked")
    (tmp_path / "outside" / "inner").mkdir()
    (tmp_path / "outside" / "inner" / "__init__.py").write_text("VERSION = '1.0.0'")
    with pytest.raises(ModuleRefused, match="must not contain links, linked is one"):
        read("scratch_top.linked.inner")
    (top / "own").mkdir()
    (top / "own" / "__init__.py").write_text("VERSION = '1.0.0'")
    (top / "own" / "secret.txt").symlink_to("/etc/hostname")
    with pytest.raises(ModuleRefused, match=r"must be plain files, secret.txt is none"):
        read("scratch_top.own")


def test_too_much_is_refused_with_the_limit(top: Path, monkeypatch):
    (top / "big").mkdir()
    (top / "big" / "__init__.py").write_text("VERSION = '1.0.0'")
    monkeypatch.setattr(sources, "MAX_FILES", 2)
    for number in range(2):
        (top / "big" / f"part{number}.py").write_text("")
    with pytest.raises(ModuleRefused, match="in 2 files, it has 17 bytes in 3 files"):
        read("scratch_top.big")
    monkeypatch.setattr(sources, "MAX_BYTES", 10)
    with pytest.raises(ModuleRefused, match=r"may have 10 bytes, __init__.py alone has more"):
        read("scratch_top.big")


def test_nothing_is_read_beyond_the_limit(top: Path, monkeypatch):
    (top / "big").mkdir()
    for name in ("__init__.py", "part.py", "rest.py"):
        (top / "big" / name).write_text("#" * 8)
    monkeypatch.setattr(sources, "MAX_BYTES", 10)
    opened, real = [], sources._content
    monkeypatch.setattr(sources, "_content", lambda name, file: opened.append(name) or real(name, file))
    with pytest.raises(ModuleRefused, match="may have 10 bytes in 500 files, big has more"):
        read("scratch_top.big")
    assert opened == ["__init__.py", "part.py"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"\xff\xfe.txt", r"'\\udcff\\udcfe.txt'"), (b"a\nb", r"'a\\nb'"), (b"d/" * 130 + b"x", "'d/d/d/")],
    ids=["no text", "two lines", "deep"],
)
def test_a_name_that_cannot_be_kept_is_refused_wherever_the_files_are_looked_at(top: Path, name: bytes, shown: str):
    (top / "risk").mkdir()
    (top / "risk" / "__init__.py").write_text("VERSION = '1.0.0'")
    file = Path(os.fsdecode(os.fsencode(top / "risk") + b"/" + name))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    for look in (read, sources.fingerprint):
        with pytest.raises(ModuleRefused, match=f"must have at most 255 letters, all of them printable, was {shown}"):
            look("scratch_top.risk")


def test_what_is_no_part_of_the_code_counts_among_what_is_looked_at(top: Path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_ENTRIES", 3)
    (top / "risk" / "__pycache__").mkdir(parents=True)
    (top / "risk" / "__pycache__" / "not_looked_at").write_text("")
    (top / "risk" / "__init__.py").write_text("VERSION = '1.0.0'")
    (top / "risk" / ".hidden").write_text("")
    assert list(read("scratch_top.risk").files) == ["__init__.py"]
    (top / "risk" / ".another").write_text("")
    with pytest.raises(ModuleRefused, match="the folders of risk may hold 3 entries, they hold more"):
        read("scratch_top.risk")


def test_a_path_that_the_system_does_not_read_is_refused_in_a_sentence(top: Path):
    with pytest.raises(ModuleRefused, match="must be readable, is not: File name too long"):
        read(f"scratch_top.{'a' * 300}")


@pytest.mark.parametrize("text", [b"def run(:\n", b"\0", b"x = '\xff'\n", b"(" * 300])
def test_what_cannot_be_parsed_is_refused_by_file(text: bytes):
    files = {"__init__.py": b"VERSION = '1.0.0'", "broken.py": text}
    artefact = sources.SourceCode(path="tiers.risk", files=files, digest="")
    with pytest.raises(ModuleRefused, match=r"tiers.risk must be valid Python, broken.py"):
        sources.declaration_of(artefact)


@pytest.mark.parametrize(
    ("text", "version", "dependencies"),
    [
        ("VERSION = '1.0.0'", "1.0.0", None),
        (
            "VERSION: str = '1.0.0-rc.1'\nDEPENDENCIES: dict = {'features': '^1.0.0'}",
            "1.0.0-rc.1",
            {"features": "^1.0.0"},
        ),
        ("VERSION = '1.0.0'\nVERSION = '2.0.0'", "2.0.0", None),
        ("if True:\n    VERSION = '3.0.0'\nVERSION = '1.0.0'", "1.0.0", None),
    ],
)
def test_code_says_its_version_in_a_literal(text: str, version: str, dependencies: dict[str, str] | None):
    found = sources.declaration_of(sources.SourceCode(path="t", files={"__init__.py": text.encode()}, digest=""))
    assert (found.version, found.dependencies) == (version, dependencies)


def test_what_it_needs_must_be_a_literal_too():
    text = b"VERSION = '1.0.0'\nDEPENDENCIES = dict(features='^1.0.0')"
    with pytest.raises(ModuleRefused, match="dependencies must map names to version ranges"):
        sources.declaration_of(sources.SourceCode(path="t", files={"t.py": text}, digest=""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VERSION = '1.0.0'\nDEPENDENCIES = {'features': 1e999}", "must state what it states as literals"),
        ("VERSION = {[]: 1}", "must state VERSION as a text like '1.4.0', was None"),
        (f"VERSION = {'+'.join(['1'] * 900)}", "must state VERSION as a text like '1.4.0', was None"),
        (f"VERSION = 0x{'f' * 5000}", "must state VERSION as a text like '1.4.0', was None"),
        (f"VERSION = '1.0.{'1' * 100_000}'", "VERSION of t may have 64 letters, has 100004"),
        ("VERSION = '1.0.0'\nDEPENDENCIES = {[]: 1}", "must map names to version ranges, was 'what line 2 works out'"),
        (f"VERSION = '1.0.0'\nDEPENDENCIES = {'+'.join(['1'] * 900)}", "must map names to version ranges"),
        (
            f"VERSION = '1.0.0'\nDEPENDENCIES = {dict.fromkeys(map(str, range(2_000)), '*')}",
            "was 'what line 2 works out'",
        ),
        ("VERSION = '1.0.0'\nDEPENDENCIES = {1: '*'}", "must map names to version ranges, one name was 1"),
        ("VERSION = '1.0.0'\nDEPENDENCIES = {'\\ud800': '*'}", r"a module's name must read like .* was '\\ud800'"),
    ],
    ids=map(str, range(9)),
)
def test_what_is_stated_oddly_is_refused_in_a_sentence(text: str, message: str):
    with pytest.raises(ModuleRefused, match=message):
        sources.declaration_of(sources.SourceCode(path="t", files={"t.py": text.encode()}, digest=""))


def test_code_that_takes_long_to_parse_is_refused_and_holds_up_no_thread_meanwhile():
    """Python 3.11 looks at all of an f-string for each of its fields."""
    text = b"VERSION = '1.0.0'\nX = lambda a: f\"" + b"{a}" * 87_000 + b'"'
    longest, last = 0.0, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        parsing = pool.submit(sources.declaration_of, sources.SourceCode(path="t", files={"t.py": text}, digest=""))
        while not parsing.done():
            time.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    with pytest.raises(ModuleRefused, match="the code of t must be parsed within 2 s of work and 512 MB, was not"):
        parsing.result()
    assert longest < 1.5


@pytest.mark.parametrize("parts", [1, 2])
def test_more_python_than_a_process_can_stop_for_is_refused_before_any_of_it_is_parsed(parts: int, monkeypatch):
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: pytest.fail("was parsed"))
    text = b"#" * (sources.MAX_PARSED_BYTES // parts + 1)
    files = {f"part{number}.py": text for number in range(parts)}
    with pytest.raises(ModuleRefused, match=r"the Python of t may have 262144 bytes, it has 26214[56]"):
        sources.declaration_of(sources.SourceCode(path="t", files=files, digest=""))


@pytest.mark.parametrize("path", ["scratch_top", "tiers"])
def test_a_package_of_modules_is_none_itself_and_not_read(path: str, monkeypatch):
    monkeypatch.setattr(sources, "locate", lambda _: pytest.fail("was looked at"))
    with pytest.raises(ModuleRefused, match=f"a module's path must lead below {path}"):
        sources.read(path, ["scratch_top", "tiers"])


def test_the_fingerprint_changes_with_any_file(top: Path):
    (top / "risk").mkdir()
    (top / "risk" / "__init__.py").write_text("VERSION = '1.0.0'")
    before = sources.fingerprint("scratch_top.risk")
    assert sources.fingerprint("scratch_top.risk") == before
    (top / "risk" / "limits.py").write_text("")
    after = sources.fingerprint("scratch_top.risk")
    assert after != before
    (top / "trend.py").write_text("")
    assert sources.fingerprint("scratch_top.trend")[0][0] == "trend.py"


@pytest.mark.django_db
@pytest.mark.usefixtures("open_gate")
def test_a_slot_has_room_for_some_versions_that_nobody_tests(code, monkeypatch):
    monkeypatch.setattr(bounds, "UNTESTED", 2)
    first, second = (services.register("oracle", code("oracle", version=f"1.{n}.0")) for n in range(2))
    with pytest.raises(ModuleRefused, match="module oracle may have 2 versions that were never tested, and has them"):
        services.register("oracle", code("oracle", version="1.2.0"))
    assert services.register("oracle", code("oracle", version="1.1.0")).label == second.label
    services.load("oracle", first.label)
    services.unload("oracle", first.label)
    assert services.register("oracle", code("oracle", version="1.2.0")).version == "1.2.0"


@pytest.mark.django_db
def test_a_label_that_would_stand_for_two_contents_is_refused(code, monkeypatch):
    real = sources.digest_of
    monkeypatch.setattr(sources, "digest_of", lambda path, files: f"{'0' * 8}{real(path, files)[8:]}")
    first = services.register("oracle", code("oracle"))
    other = code("oracle", "VERSION = '1.0.0'\ndef run(value): return 'other'\n")
    with pytest.raises(ModuleRefused, match=r"oracle 1\.0\.0\+00000000 must be one content, another one has the same"):
        services.register("oracle", other)
    assert [each.digest for each in first.module.versions.all()] == [first.digest]
