"""Modules, versions, swaps and processes as plain values, for terminals, pages and the API."""

from __future__ import annotations

from typing import Any

from helios.modules.models import Module, ModuleJob, ModuleProcess, ModuleSwap, ModuleVersion

SLOT = (
    *("name", "state", "version", "path", "dependencies", "hot_reloadable", "error", "reload_error"),
    *("watch_calls", "watch_failures", "generation", "loaded_at"),
)
VERSION = ("label", "version", "state", "path", "dependencies", "digest", "error", "registered_by", "loaded_at")
SWAP = ("id", "kind", "state", "actor", "reason", "error", "processes", "watch_calls", "watch_seen", "watch_failed")
SWAP_TIMES = ("started_at", "switched_at", "finished_at")
JOB = ("id", "kind", "state", "actor", "detail", "created_at", "started_at", "finished_at")
PROCESS = ("component", "host", "pid", "generation", "loaded", "started_at", "seen_at")


def slot(row: Module) -> dict[str, Any]:
    """A slot: what fills it, what filled it before, whether its last switch is watched."""
    return {
        **{field: getattr(row, field) for field in SLOT},
        "label": row.active.label if row.active is not None else "",
        "previous": row.previous.label if row.previous is not None else "",
        "watched_swap": row.watch_id,
    }


def version(row: ModuleVersion) -> dict[str, Any]:
    """One registered version."""
    return {"name": row.module.name, **{field: getattr(row, field) for field in VERSION}}


def versions(row: Module) -> list[dict[str, Any]]:
    """All versions of a slot, newest first."""
    return [version(each) for each in row.versions.select_related("module").order_by("-id")]


def swap(row: ModuleSwap) -> dict[str, Any]:
    """One attempt to change what fills a slot."""
    return {
        **{field: getattr(row, field) for field in SWAP},
        "name": row.module.name,
        "from": row.from_version.label if row.from_version is not None else "",
        "to": row.to_version.label,
        **{field: getattr(row, field) for field in SWAP_TIMES},
    }


def history(row: Module, limit: int = 50) -> list[dict[str, Any]]:
    """The last swaps of a slot, newest first."""
    rows = row.swaps.select_related("module", "from_version", "to_version").order_by("-id")
    return [swap(each) for each in rows[:limit]]


def process(row: ModuleProcess) -> dict[str, Any]:
    """One process that takes part in swaps."""
    return {field: getattr(row, field) for field in PROCESS}


def job(row: ModuleJob) -> dict[str, Any]:
    """Work that a request asked for."""
    return {"name": row.module.name, "version": row.version.label, **{field: getattr(row, field) for field in JOB}}
