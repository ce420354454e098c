"""The thread that shares what no later call of a process would share in time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from helios.breakers import breaker
from helios.breakers.flusher import Sharer
from tests.support import warm
from tests.support.places import ROOT
from tests.support.vendors import window


class Ears:
    """Something to share, and whether it can be."""

    def __init__(self) -> None:
        self.heard, self.times, self.back = threading.Semaphore(0), 0, True

    def share(self) -> bool:
        self.times += 1
        self.heard.release()
        return self.back

    def wait(self) -> bool:
        return self.heard.acquire(timeout=20)


@pytest.fixture
def ears() -> Ears:
    return Ears()


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_shares_after_it_was_woken_and_only_then(ears):
    sharer = Sharer(ears.share, share_s=0.001)
    assert not sharer.running
    sharer.wake()
    assert ears.wait()
    assert not ears.heard.acquire(timeout=0.05)
    sharer.wake()
    assert ears.wait()
    sharer.stop()


def test_a_wake_in_the_moment_it_ends_is_not_lost(ears):
    sharer = Sharer(ears.share, share_s=0.001, idle_s=0.01)

    class Woken(threading.Event):
        """Wakes the sharer right after it has looked for the last time."""

        armed = True

        def is_set(self) -> bool:
            seen = super().is_set()
            if self.armed:
                self.armed = False
                other = threading.Thread(target=sharer.wake)
                other.start()
                other.join(0.1)
            return seen

    sharer._woken = Woken()
    sharer._start()
    assert ears.wait()
    sharer.stop()


def test_it_tries_again_until_redis_is_back(ears, monkeypatch):
    monkeypatch.setattr("helios.breakers.flusher.RETRY_S", 0.001)
    ears.back = False
    sharer = Sharer(ears.share, share_s=0.001)
    sharer.wake()
    for _ in range(3):
        assert ears.wait()
    ears.back = True
    until(lambda: not ears.heard.acquire(timeout=0.1))
    sharer.stop()


def test_an_idle_thread_ends_and_the_next_success_starts_another(ears):
    sharer = Sharer(ears.share, share_s=0.001, idle_s=0.01)
    sharer.wake()
    assert ears.wait()
    until(lambda: not sharer.running)
    sharer.wake()
    assert ears.wait()
    sharer.stop()


def test_a_stopped_one_shares_nothing_and_does_not_start_again(ears):
    sharer = Sharer(ears.share, share_s=30.0)
    sharer.wake()
    sharer.stop()
    sharer.wake()
    assert ears.times == 0


@pytest.mark.usefixtures("clean_redis")
def test_a_success_reaches_redis_though_no_call_follows():
    breaker("llm_api").call(str, 1)
    until(lambda: window() == "S")


EXITING = """
import helios.breakers.process as process
from helios.breakers.catalog import SHIPPED
from helios.breakers.shared_state import SharedStore
import sys
from helios.breakers import breaker
process.current().__dict__["store"] = SharedStore.from_url(sys.argv[1])
process._acting = lambda: True
process.on_own_connection = lambda work: None
for _ in range(3):
    breaker("llm_api").call(str, 1)
"""


def test_a_process_that_ends_shares_what_it_has_kept(clean_redis):
    url = os.environ["HELIOS_REDIS_URL"]
    subprocess.run([sys.executable, "-c", EXITING, url], cwd=ROOT, check=True, timeout=300)
    assert window() == "SSS"


FORKING = (
    EXITING
    + """
import os
before = process.current()
child = os.fork()
if child == 0:
    after = process.current()
    os._exit(0 if after is not before and not after.circuits and not after.sharer.running else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
)


@pytest.mark.usefixtures("clean_redis")
def test_a_forked_child_begins_anew_and_shares_nothing_of_its_parent():
    url = os.environ["HELIOS_REDIS_URL"]
    warm.run(["-c", FORKING, url]).check_returncode()
    assert window() == "SSS"
