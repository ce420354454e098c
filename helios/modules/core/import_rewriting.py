"""Imports of a module's own package, turned to the copy that is loaded beside the running one.

Only names change, no line moves: a traceback shows the file as it was written. Shared code, such as the contracts
between stages, is imported as always.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from helios.modules.errors import ModuleRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A module's dotted path, and the name of the copy that is loaded beside it."""

    own: str  # tiers.risk
    copy: str  # helios_modules.risk_1f0c2a9b44d1

    def turned(self, name: str) -> str | None:
        """`name` inside the copy; None where it is not part of the module."""
        if name == self.own or name.startswith(f"{self.own}."):
            return self.copy + name[len(self.own) :]
        return None


def rewritten(tree: ast.Module, names: Names, package: str) -> ast.Module:
    """The tree with its imports turned. `package`: the original package that relative imports of this file start from.

    Raises `ModuleRefused` for `import tiers.risk.limits` without `as` inside tiers.risk: it would reach the running
    copy through the name `tiers`.
    """
    turned: ast.Module = ast.fix_missing_locations(_Turning(names, package).visit(tree))
    return turned


class _Turning(ast.NodeTransformer):
    def __init__(self, names: Names, package: str) -> None:
        self._names, self._package = names, package

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            beside = self._names.turned(alias.name)
            if beside is None:
                continue
            if alias.asname is None:
                raise ModuleRefused(
                    f"line {node.lineno}: a module must import its own code as `from {alias.name} import ...` "
                    f"or `import {alias.name} as name`, was `import {alias.name}`"
                )
            alias.name = beside
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.ImportFrom]:
        if node.level:
            self._make_absolute(node)
        beside = self._names.turned(node.module or "")
        if beside is not None:
            node.module = beside
            return node
        parent, _, last = self._names.own.rpartition(".")
        own = [alias for alias in node.names if alias.name == last] if node.module == parent else []
        return self._split(node, own) if own else node

    def _make_absolute(self, node: ast.ImportFrom) -> None:
        """`from . import x` under its full name, as the original has it; what is the module's own is turned later."""
        parts = self._package.split(".")
        kept = parts[: len(parts) - (node.level - 1)]
        if not kept or node.level > len(parts):
            raise ModuleRefused(f"line {node.lineno}: a relative import must stay below the top package, it did not")
        package = ".".join(kept)
        node.module = f"{package}.{node.module}" if node.module else package
        node.level = 0

    def _split(self, node: ast.ImportFrom, own: list[ast.alias]) -> list[ast.ImportFrom]:
        """`from tiers import risk, contracts` inside tiers.risk: the first from beside, the other as it is."""
        root, _, copy = self._names.copy.rpartition(".")
        ours = [ast.alias(name=copy, asname=alias.asname or alias.name) for alias in own]
        found = [ast.ImportFrom(module=root, names=ours, level=0)]
        others = [alias for alias in node.names if alias not in own]
        if others:
            found.append(ast.ImportFrom(module=node.module, names=others, level=0))
        return [ast.copy_location(each, node) for each in found]
