"""A hub: forked from a warm process, it imports what is asked of it once and gives each who connects a warm process.

The workers of xdist share it, and load nothing themselves.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from helios import warm
from helios.warm_process import HANDED, Server, become, load
from tests.support.places import ROOT

FOR_EVER_S = 1e9


class _Far:
    """The warm process at the other end of a connection, with the part of `Popen` that its owner uses."""

    returncode = 0

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int:
        return self.returncode  # the hub waits for it

    wait = poll

    def kill(self) -> None:
        """It ends with its connection."""


class SharedWarm(warm.WarmProcess):
    """A warm process that a hub forks, in place of one that imports everything itself."""

    def __init__(self, address: str) -> None:
        super().__init__([], environ={}, folder=ROOT)
        self._address = address

    def _running(self) -> warm._Server:
        if self._server is None:
            control = _connected(self._address)
            self._server = warm._Server(_Far(int(control.recv(64))), control)  # type: ignore[arg-type]
        return self._server


def address(run: str, name: str) -> str:
    """Of the hub `name` of one run of the tests; in no folder, so nothing stays behind."""
    return f"helios-test-{run}-{name}"


def _connected(place: str) -> socket.socket:
    deadline = time.monotonic() + warm.START_S
    while True:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(warm.START_S)
        try:
            control.connect(f"\0{place}")
        except ConnectionRefusedError:  # it is not there yet
            control.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return control


def main(place: str, modules: Sequence[str]) -> None:
    """Serve until the warm process ends that has forked us."""
    if os.open(os.devnull, os.O_RDWR) != HANDED:
        sys.exit(f"descriptor {HANDED} must be free")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{place}")
        listener.listen()
        while True:
            control, _ = listener.accept()
            load([name for name in modules if name not in sys.modules])
            if os.fork() == 0:
                break
            control.close()
    own, started = os.getpid(), dict(os.environ)
    control.send(str(own).encode())
    request = Server(control, FOR_EVER_S).serve()
    if request is None:
        os._exit(0)
    become(request, warm=own, mark="", started=started)
