"""Is a port free? Asked before anything starts, so that a clash leaves nothing half-started."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterable

import psutil

from helios.stack.children import StackError
from helios.stack.processes import ProcessSpec


def check_ports(specs: Iterable[ProcessSpec], *, ours: Collection[int] = ()) -> None:
    """Raises: StackError naming every port that is taken, by whom if that can be seen, and what to change.

    `ours`: the processes that use this installation's servers; what runs under one of them is this stack.
    """
    listening: dict[int, ProcessSpec] = {}
    for spec in (each for each in specs if each.port is not None):
        other = listening.setdefault(spec.port or 0, spec)
        if other is not spec:
            raise StackError(
                f"Port {spec.port} is given to both {other.name} and {spec.name}: "
                f"change {other.port_variable} or {spec.port_variable}"
            )
    taken = [spec for port, spec in listening.items() if not is_free(port)]
    if taken:
        raise StackError("; ".join(dict.fromkeys(_sentence(spec, ours) for spec in taken)))


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback interface's port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an old connection's echo is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _sentence(spec: ProcessSpec, ours: Collection[int]) -> str:
    by, holder = "", _holder(spec.port)
    with contextlib.suppress(psutil.Error):
        if holder and (stack := [each.pid for each in holder.parents() if each.pid in ours]):
            return f"This stack runs already (process {stack[0]}); Ctrl-C there stops it"
        by = f" by {holder.name()} (process {holder.pid})" if holder else ""
    return f"Port {spec.port} for {spec.name} is already in use{by}: free it or set {spec.port_variable}"


def _holder(port: int | None) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    return None
