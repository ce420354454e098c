"""A desk whose web process runs, and a headless Chromium; skipped with a reason where there is none."""

from __future__ import annotations

import shutil
import socket
import sys

import pytest

from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def chromium() -> str:
    """The path of the system's Chromium."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a headless browser: none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    return found


def start_web(stack: Stack) -> str:
    """Start the web process of a stack on a free port and wait for it; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", "uvicorn", "helios.asgi:application", "--port", str(port), "--no-access-log"]
    stack.start(ProcessSpec(name="web", argv=argv))

    def listening() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    stack.wait_for(listening, what="the web process")
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def site(desk: Stack) -> tuple[Stack, str, dict[str, str]]:
    """A desk with workers and web, its address, and the first administrator's login."""
    login = desk.manage_json("ensure_admin")
    desk.start_worker()
    return desk, start_web(desk), login
