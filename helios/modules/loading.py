"""Code loaded beside what runs: a package of its own for each content, so that nothing running is ever changed.

`helios_modules.risk_1f0c2a9b44d1...` is the module `risk` with the content of that hash. What runs are the bytes that
were hashed: no source is read from disk. The files are laid out once a machine under the folder of the digest (for
data, tracebacks and what numba has compiled), and anew wherever a process finds them changed or something added. What
numba has compiled is read back as pickles that no hash covers: who may write there may run code here.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, Protocol, cast

from django.conf import settings

from helios.errors import error_text
from helios.liveness import told_to_end
from helios.modules import hooks, sources
from helios.modules.core import import_rewriting
from helios.modules.core.versions import parse
from helios.modules.errors import ModuleLoadFailed, ModuleRefused
from helios.modules.sources import PACKAGE_FILE, Files

ROOT: Final = "helios_modules"
COMPILED: Final = "__pycache__"
KEPT: Final = 4  # copies of one module that a process keeps, beside those in use
PRODUCT: Final = ("helios", "tiers", "trading", "sentinel")  # the installation: a module may use it, not change it
WITHOUT_MODULES: Final = frozenset({"maintenance", "web", "flower", "beat", "stream"})  # components, by their names
DEFAULT_PACKAGES: Final = ("tiers", "trading", "examples.modules")  # the setting MODULE_PACKAGES replaces it


class Implementation(Protocol):
    """What every module must offer: its version, and the function that does its work."""

    VERSION: str
    run: Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveModule:
    """An implementation of `name`. `version` is its label; `watch` the switch whose first calls are watched now."""

    name: str
    version: str
    path: str
    digest: str
    implementation: Implementation
    watch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCopy:
    """A copy that can be imported: its names, its files as they were hashed, and the folder or file they lie in."""

    names: import_rewriting.Names
    place: Path
    files: Files


_known: dict[str, CodeCopy] = {}
_loaded: dict[tuple[str, str], Implementation] = {}  # in the order of loading
_loading = threading.RLock()
_closed: set[str] = set()  # names of packages, with a dot behind, whose files come from no disk


def allowed_packages() -> tuple[str, ...]:
    """The packages that modules may be loaded from."""
    return tuple(getattr(settings, "MODULE_PACKAGES", DEFAULT_PACKAGES))


def copy_name(slot: str, digest: str) -> str:
    """The package name of one content of a slot and of no other; two that share their first digits are soon found."""
    return f"{ROOT}.{slot}_{digest}"


def load_code(
    slot: str,
    digest: str,
    files: Files,
    path: str,
    *,
    version: str = "",
    root: Path | None = None,
    packages: Iterable[str] | None = None,
) -> Implementation:
    """The implementation made of `files`, loaded beside whatever runs; the same object when it is there already.

    From then on nothing of `packages` (those that modules may be loaded from), but for Helios itself, is imported from
    disk in this process: nobody hashed or tested what lies there.
    Raises `ModuleLoadFailed` with the reason: a process that runs no tiers, files that are not those of `digest`, an
    import that fails, no function `run`, another VERSION than `version` (where one is given). Nothing half loaded stays
    behind.
    """
    if (component := os.environ.get("HELIOS_COMPONENT", "")) in WITHOUT_MODULES:
        raise ModuleLoadFailed(f"code of modules must be loaded by workers of cycles alone, not by {component}")
    with _loading:
        found = _loaded.get((slot, digest))
        if found is not None:
            return found
        if sources.digest_of(path, files) != digest:
            raise ModuleLoadFailed(f"module {slot} must have the content {digest[:12]}, its files are others")
        allowed = allowed_packages() if packages is None else packages
        _closed.update(f"{each}." for each in allowed if each.partition(".")[0] not in PRODUCT)
        name = copy_name(slot, digest)
        place = materialise(slot, digest, files, root or Path(settings.MODULES_DIR))
        _known[name] = CodeCopy(names=import_rewriting.Names(own=path, copy=name), place=place, files=files)
        try:
            implementation = _imported(slot, name, path, version)
        except BaseException:
            _drop(name)
            raise
        _loaded[slot, digest] = implementation
        return implementation


def loaded_copy(slot: str, digest: str) -> Implementation | None:
    """The copy that this process has loaded already, if it has."""
    return _loaded.get((slot, digest))


def loaded() -> list[tuple[str, str]]:
    """Slot and digest of each copy that this process holds."""
    return list(_loaded)


def forget_code(slot: str, digest: str) -> None:
    """Let go of a copy. Who still holds a function of it keeps it alive; a later use loads it again."""
    with _loading:
        if _loaded.pop((slot, digest), None) is not None:
            _drop(copy_name(slot, digest))


def forget_old(keep: Mapping[str, Sequence[str]]) -> None:
    """Let go of the copies beyond the newest few of each slot; never of the digests named in `keep`."""
    with _loading:
        for slot in {name for name, _ in _loaded}:
            spare = [digest for name, digest in _loaded if name == slot and digest not in keep.get(slot, ())]
            for digest in spare[:-KEPT]:
                forget_code(slot, digest)


def materialise(slot: str, digest: str, files: Files, root: Path) -> Path:
    """Lay the files out under `root/digest`, unless they are there and whole; returns the package's folder or file."""
    folder = root / digest
    name = copy_name(slot, digest).rpartition(".")[2]
    place = folder / (name if PACKAGE_FILE in files else f"{name}.py")
    if _on_disk(place, files):
        return place
    draft = folder.with_name(f".{digest[:12]}-{uuid.uuid4().hex}")
    _write(draft / place.name, files)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (draft / place.name).rename(place)  # whoever is first wins; a folder with content is not replaced
    except OSError:
        if not _on_disk(place, files):
            _replace(place, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def _replace(place: Path, draft: Path) -> None:
    """Put what is right in the place of what was damaged."""
    place.rename(draft / "damaged")
    (draft / place.name).rename(place)


def _on_disk(place: Path, files: Files) -> bool:
    """Whether these files lie there as they are, no link and no other one; what numba has compiled is no file of it."""
    if place.suffix == ".py":
        return _is(place, next(iter(files.values())))
    found = {each.relative_to(place).as_posix() for each in _laid_out(place)}
    return found == files.keys() and all(_is(place / name, text) for name, text in files.items())


def _laid_out(folder: Path) -> Iterator[Path]:
    for each in folder.iterdir() if folder.is_dir() else ():
        if each.is_dir() and not each.is_symlink():
            yield from _laid_out(each) if each.name != COMPILED else ()
        else:
            yield each


def _is(file: Path, content: bytes) -> bool:
    return file.is_file() and not file.is_symlink() and file.read_bytes() == content


def _write(place: Path, files: Files) -> None:
    if place.suffix == ".py":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(next(iter(files.values())))
        return
    for name, content in files.items():
        target = place / name
        if not target.resolve().is_relative_to(place.resolve()):
            raise ModuleLoadFailed(f"a module's file must lie in its package, {name!r} does not")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _imported(slot: str, name: str, path: str, version: str) -> Implementation:
    _install()
    try:
        found = importlib.import_module(name)
        refusal = _refusal(found, path, version) or hooks.refusal(found)
    except BaseException as error:  # the code may do anything at import or when it is looked at, leaving included
        if told_to_end(error):
            raise
        raise ModuleLoadFailed(f"module {slot} could not be imported from {path}: {error_text(error)}") from None
    if refusal:
        raise ModuleLoadFailed(f"module {slot} {refusal}")
    hooks.loaded(found, slot)
    return cast("Implementation", found)


def _refusal(found: ModuleType, path: str, version: str) -> str:
    seen = getattr(found, "VERSION", None)
    if not isinstance(seen, str):
        return f"must have VERSION, a string, in {path}; it was {seen!r}"
    try:
        same = not version or parse(seen) == parse(version)
    except ModuleRefused as error:
        return f"has a bad VERSION in {path}: {error}"
    if not same:
        return f"is registered as {version}, but the code in {path} is {seen}"
    return "" if callable(getattr(found, "run", None)) else f"must have run, a function, in {path}"


def _drop(name: str) -> None:
    for each in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[each]
    root = sys.modules.get(ROOT)
    if root is not None:
        with contextlib.suppress(AttributeError):
            delattr(root, name.rpartition(".")[2])


def _install() -> None:
    """The root package, which has no files, and the finder behind it."""
    if ROOT not in sys.modules:
        package = ModuleType(ROOT, "Modules of the pipeline, loaded beside each other.")
        package.__path__ = []
        sys.modules[ROOT] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds `helios_modules.<slot>_<digest>` and what lies below it; files that modules are made of are not found."""

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if f"{fullname}.".startswith(tuple(_closed)):
            raise ImportError(
                f"a module may import its own files, Helios and libraries, not {fullname}: put what it needs of that "
                "into its own folder"
            )
        parts = fullname.split(".")
        copy = _known.get(".".join(parts[:2])) if parts[0] == ROOT else None
        if copy is None:
            return None
        single = copy.place.suffix == ".py"
        inner = "/".join(parts[2:])
        package = f"{inner}/{PACKAGE_FILE}".lstrip("/")
        name = next((each for each in (package, f"{inner}.py") if each in copy.files), None)
        if single and not inner:
            name = next(iter(copy.files))
        if name is None:
            return None
        file = copy.place if single else copy.place / name
        loader = _Loader(fullname, file, copy, copy.files[name], package=name == package)
        spec = importlib.util.spec_from_file_location(fullname, file, loader=loader)
        if spec is not None and name == package:
            spec.submodule_search_locations = []  # nobody else looks for its parts on disk
        return spec


class _Loader(SourceFileLoader):
    """Compiles a file with its own imports turned to the copy. Nothing compiled is kept on disk."""

    def __init__(self, fullname: str, file: Path, copy: CodeCopy, source: bytes, *, package: bool) -> None:
        super().__init__(fullname, os.fspath(file))
        self._source = source
        original = copy.names.own + fullname[len(copy.names.copy) :]
        self._names = copy.names
        self._package = original if package else original.rpartition(".")[0]

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the import system's signature
        tree = import_rewriting.rewritten(ast.parse(self._source, self.path), self._names, self._package)
        return compile(tree, self.path, "exec", dont_inherit=True)


def _after_fork() -> None:
    global _loading  # noqa: PLW0603 - a thread of the parent may have held it
    _loading = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
