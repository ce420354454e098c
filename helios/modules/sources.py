"""The sources behind a dotted path: found and read without importing anything, named by the hash of their content."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from helios.modules import parsing_process
from helios.modules.core.dependencies import check_dependencies, check_path
from helios.modules.core.versions import parse
from helios.modules.errors import ModuleRefused
from helios.redaction import shortened

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_FILES: Final = 500
MAX_ENTRIES: Final = 5_000  # of its folders, with what is no part of the code
MAX_NAME_LETTERS: Final = 255  # of a file, with the folders that it lies in
MAX_PARSED_BYTES: Final = 256 * 1024  # no tier of ours has half
PARSING_S: Final = 30.0  # for the process that parses, on a machine that is busy
MAX_VERSION_LETTERS: Final = 64  # what its column holds
PACKAGE_FILE: Final = "__init__.py"
_SKIPPED: Final = frozenset({"__pycache__"})
_COMPILED: Final = frozenset({".pyc", ".pyo", ".so", ".pyd"})

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCode:
    """The code of one dotted path. File names are relative to its package; a single file has one name."""

    path: str
    files: Files = field(repr=False)
    digest: str

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(map(len, self.files.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What the code says of itself in literals; None where it says nothing."""

    version: str
    dependencies: dict[str, str] | None


def read(path: str, packages: Iterable[str]) -> SourceCode:
    """Read the package or the single file behind `path` from disk.

    Raises `ModuleRefused` for a path outside `packages`, for code that is not there, for links, for names that cannot
    be kept, and for more than 5 MB or 500 files.
    """
    check_path(path, packages)
    try:
        place = locate(path)
        files = dict(_package_files(place)) if place.is_dir() else {place.name: _content(place.name, place)}
    except OSError as error:
        raise ModuleRefused(f"the code of {path} must be readable, is not: {error.strerror}") from error
    _check_size(path, files)
    return SourceCode(path=path, files=files, digest=digest_of(path, files))


def locate(path: str) -> Path:
    """The folder of a package or the file of a module; nothing below the top package is looked up by import."""
    top, *parts = path.split(".")
    for root in _roots(top):
        place = root
        for part in parts:
            place /= part
        if (place / PACKAGE_FILE).is_file():
            return _without_links(path, root, place, place / PACKAGE_FILE)
        single = place.with_name(f"{place.name}.py")
        if parts and single.is_file():
            return _without_links(path, root, single)
    raise ModuleRefused(f"code must lie where {path} points to, nothing was found there")


def digest_of(path: str, files: Files) -> str:
    """SHA-256 over the dotted path and over each file's name and content, in the order of the names."""
    seen = hashlib.sha256()
    for part in (path.encode(), *(piece for name in sorted(files) for piece in (name.encode(), files[name]))):
        seen.update(len(part).to_bytes(8, "big"))
        seen.update(part)
    return seen.hexdigest()


def declaration_of(artefact: SourceCode) -> Declaration:
    """VERSION and DEPENDENCIES as literals of the code, and a check that every file can be parsed.

    Parsed in a process of its own. Raises `ModuleRefused` with file and line for a syntax error, where VERSION is no
    literal version, for what takes too long to parse, and, before anything is parsed, for more than 256 kB of Python.
    """
    code = {name: text for name, text in sorted(artefact.files.items()) if name.endswith(".py")}
    size = sum(map(len, code.values()))
    if size > MAX_PARSED_BYTES:
        raise ModuleRefused(f"the Python of {artefact.path} may have {MAX_PARSED_BYTES} bytes, it has {size}")
    found = _stated(artefact.path, code)
    version = found.get("VERSION")
    if not isinstance(version, str):
        was = shortened(repr(version))
        raise ModuleRefused(f"{artefact.path} must state VERSION as a text like '1.4.0', was {was}")
    if len(version) > MAX_VERSION_LETTERS:
        raise ModuleRefused(f"VERSION of {artefact.path} may have {MAX_VERSION_LETTERS} letters, has {len(version)}")
    parse(version)
    dependencies = found.get("DEPENDENCIES")
    if dependencies is not None:
        check_dependencies(dependencies)
    return Declaration(version=version, dependencies=dependencies)


def packed(files: Files) -> dict[str, Any]:
    """Files as JSON: text as it is, everything else in base64."""
    return {name: _packed(content) for name, content in files.items()}


def unpacked(stored: Mapping[str, Any]) -> dict[str, bytes]:
    """The inverse of `packed`."""
    return {
        name: content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])
        for name, content in stored.items()
    }


def fingerprint(path: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of every file behind `path`: cheap to compare, to see whether to read again."""
    place = locate(path)
    found = _walk(place) if place.is_dir() else [(place.name, place)]
    return tuple((name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in found)


def _roots(top: str) -> list[Path]:
    """Where the top package lies on disk, for import or not."""
    spec = PathFinder.find_spec(top)
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def _without_links(path: str, root: Path, place: Path, *others: Path) -> Path:
    """`place`, when neither it nor a folder between the top package and it is a link."""
    between = [folder for folder in place.parents if root in folder.parents]
    for each in (place, *others, *between):
        if each.is_symlink():
            raise ModuleRefused(f"the code of {path} must not contain links, {each.name} is one")
    return place


def _package_files(root: Path) -> Iterator[tuple[str, bytes]]:
    size = 0
    for number, (name, file) in enumerate(_walk(root)):
        if number > MAX_FILES or size > MAX_BYTES:
            limits = f"{MAX_BYTES} bytes in {MAX_FILES} files"
            raise ModuleRefused(f"the code of a module may have {limits}, {root.name} has more")
        content = _content(name, file)
        size += len(content)
        yield name, content


def _content(name: str, file: Path) -> bytes:
    """The file's bytes, opened once: what is looked at is what is read, whatever is put in its place meanwhile."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModuleRefused(f"the code of a module must be plain files, {name} is none: {error.strerror}") from error
    with os.fdopen(opened, "rb") as read:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise ModuleRefused(f"the code of a module must be plain files, {name} is none")
        content = read.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ModuleRefused(f"the code of a module may have {MAX_BYTES} bytes, {name} alone has more")
    return content


def _walk(root: Path) -> list[tuple[str, Path]]:
    """Every file below `root` that belongs to the code, by name: no hidden ones, nothing compiled.

    Raises `ModuleRefused` for a name that cannot be kept, and where there is more to look at than a package has.
    """
    found, folders, seen = [], deque([root]), 0
    while folders:
        with os.scandir(folders.popleft()) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_ENTRIES:
                    raise ModuleRefused(f"the folders of {root.name} may hold {MAX_ENTRIES} entries, they hold more")
                place = Path(entry)
                if place.name.startswith(".") or place.name in _SKIPPED or place.suffix in _COMPILED:
                    continue
                name = place.relative_to(root).as_posix()
                _check_name(name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(place)
                else:
                    found.append((name, place))
    return sorted(found)


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_LETTERS or not name.isprintable():
        wanted = f"at most {MAX_NAME_LETTERS} letters, all of them printable"
        raise ModuleRefused(f"the name of a module's file must have {wanted}, was {shortened(repr(name))}")


def _check_size(path: str, files: Files) -> None:
    size = sum(map(len, files.values()))
    if size > MAX_BYTES or len(files) > MAX_FILES:
        limits = f"{MAX_BYTES} bytes in {MAX_FILES} files"
        raise ModuleRefused(f"the code of {path} may have {limits}, it has {size} bytes in {len(files)} files")


def _stated(path: str, code: Files) -> dict[str, Any]:
    """The literals that the code states, from a process of its own that parses all of it."""
    main = PACKAGE_FILE if PACKAGE_FILE in code else next(iter(code))
    asked = {"main": main, "files": {name: text.decode("latin-1") for name, text in code.items()}}
    argv = [sys.executable, "-I", "-S", parsing_process.__file__]
    try:
        ended = subprocess.run(
            argv, input=json.dumps(asked), check=True, capture_output=True, text=True, timeout=PARSING_S
        )
        answer = json.loads(ended.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        limit = f"{parsing_process.PARSED_S} s of work and {parsing_process.MEMORY >> 20} MB"
        raise ModuleRefused(f"the code of {path} must be parsed within {limit}, was not") from error
    if "unparsed" in answer:
        raise ModuleRefused(f"{path} must be valid Python, {answer['unparsed']}")
    try:
        return {name: ast.literal_eval(text) for name, text in answer["stated"].items()}
    except ValueError as error:  # of a number without end, which has no literal
        raise ModuleRefused(f"{path} must state what it states as literals, with finite numbers") from error


def _packed(content: bytes) -> Any:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
    return text if "\0" not in text else {"base64": base64.b64encode(content).decode()}
