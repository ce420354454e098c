"""The modules that ship with Helios: the seven tiers, each needing the one before it."""

from __future__ import annotations

from dataclasses import dataclass, field

STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A module as it is registered on a fresh database."""

    name: str
    path: str
    version: str = "1.0.0"
    dependencies: dict[str, str] = field(default_factory=dict)


SHIPPED = tuple(
    Shipped(name=stage, path=f"tiers.{stage}", dependencies={before: "^1.0.0"} if before else {})
    for before, stage in zip(("", *STAGES), STAGES, strict=False)
)
