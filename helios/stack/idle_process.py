"""The caretaker: stops the embedded servers once nobody has used them for a while, and ends with them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from helios import liveness
from helios.env import Env
from helios.stack import children, idle, leases
from helios.stack.servers import embedded_servers

LOOK_EVERY_S = 0.5


class Caretaker:
    """Watches the leases of one `var` folder.

    A lease, a lease let go of, and a connection of anybody count as use. A folder that was removed under running
    servers takes them along.
    """

    def __init__(self, env: Env) -> None:
        self._var_dir, self._servers = env.var_dir, embedded_servers(env)
        self._last_use, self._seen_ns = time.monotonic(), 0
        self._running: dict[int, str | None] = {}

    def look(self) -> bool:
        """Stop the servers if it is time; whether there is something left to wait for."""
        folder = leases.folder_of(self._var_dir)
        try:
            with leases.locked(folder):
                note = idle.read(self._var_dir)
                if note is None or note.pid != os.getpid():
                    self._end_orphans()
                    return False
                if note.written_ns != self._seen_ns:
                    pids = [server.pid() for server in self._servers.named().values()]
                    self._running = {pid: liveness.birth(pid) for pid in pids if pid is not None}
                    self._seen_ns, self._last_use = note.written_ns, time.monotonic()
                if leases.living(folder):
                    self._last_use = time.monotonic()
                if time.monotonic() - self._last_use < note.idle_s:
                    return True
                if any(server.clients() for server in self._servers.named().values()):
                    self._last_use = time.monotonic()
                    return True
                self._servers.stop()
                idle.forget(self._var_dir)
        except FileNotFoundError:
            self._end_orphans()
        return False

    def _end_orphans(self) -> None:
        for pid, birth in self._running.items():
            if liveness.birth(pid) == birth and _without_folder(pid):
                children.end(pid, first=signal.SIGINT, timeout_s=30)


def _without_folder(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink()).endswith(" (deleted)")
    return False


def main() -> int:
    """Wait until the servers are stopped, here or by somebody else."""
    caretaker = Caretaker(Env(_env_file=None, var_dir=Path(sys.argv[1]), database_url=None, redis_url=None))
    while caretaker.look():
        time.sleep(LOOK_EVERY_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
