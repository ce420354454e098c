"""Two deployments on a stack of their own, with cycles running: `python -m examples.stories promoted|faulty|both`.

`promoted`: a challenger for the predict tier is registered, tested, replayed, shadowed, rolled from 1 % to 100 %, and
gets the slot. `faulty`: another one passes its gate tests, meets real features, and is rolled back at its first step
without anybody doing anything. Everything goes through the REST API (`examples/deploy_module.py`); `--write` renews
docs/stories.md.
"""

from __future__ import annotations

import _thread
import argparse
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from helios.env import OWN_SERVERS
from helios.errors import HeliosError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "stories.md"
HOME = ROOT / "var" / "stories"
BOOK = "stories"
TRAINED = "-20051231"  # a year behind it the cycles begin: the replay of a rollout judges bars that no model saw
CYCLES = ("--from", "20070103", "--bars", "1500")
STORIES = {
    "promoted": (
        *("--module", "examples.modules.predict_tempered", "--replay", "--shares", "1,5,25,50,100"),
        *("--interval", "5", "--samples", "20", "--keep", "--name", "tempered"),
    ),
    "faulty": (
        *("--module", "examples.modules.predict_brittle", "--shares", "1,5,25,50,100"),
        *("--interval", "5", "--samples", "15", "--keep", "--name", "brittle"),
    ),
}
EXPECTED = {"promoted": 0, "faulty": 3}


def prepare_environment() -> int:
    """Servers, data and ports of this run's own; returns the port of the web process."""
    port = free_port()
    shutil.rmtree(HOME, ignore_errors=True)  # each telling begins with the versions that ship
    os.environ["HELIOS_VAR_DIR"] = str(HOME)
    os.environ["HELIOS_WEB_PORT"] = str(port)
    os.environ["HELIOS_WORKER_CONCURRENCY"] = "1"
    os.environ["DJANGO_SETTINGS_MODULE"] = "helios.settings"
    os.environ |= OWN_SERVERS  # whatever `.env` says
    return port


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def manage(*words: str) -> str:
    """Run a `manage.py` command to its end; its output."""
    argv = [sys.executable, "manage.py", *words]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"manage.py {' '.join(words)} failed: {run.stderr.strip().splitlines()[-1:]}")
    return run.stdout


@contextmanager
def running_stack(port: int) -> Iterator[str]:
    """Servers, a trained model, workers, web and beat for the length of the block; yields an API token."""
    from helios.stack import stop  # noqa: PLC0415 - reads the environment that was just set
    from helios.stack.environment import load_env  # noqa: PLC0415
    from helios.stack.processes import beat, web  # noqa: PLC0415
    from helios.stack.servers import Lease  # noqa: PLC0415
    from helios.stack.workers import running_workers  # noqa: PLC0415

    env = load_env()
    with Lease(env):
        manage("migrate", "--noinput", "-v", "0")
        manage("import_data", "--sample")
        manage("train", "--preset", "compact", "--timerange", TRAINED)
        token = json.loads(manage("api_token", f"stories-{secrets.token_hex(3)}", "--role", "trader", "--json"))
        with running_workers(env, beside=[web(env), beat()]) as runner, ticking(runner.tick):
            wait_for_web(port)
            yield str(token["token"])
    stop.run(env)  # `make stop` knows the servers of var/ alone


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` twice a second in the background."""
    done = threading.Event()

    def loop() -> None:
        while not done.wait(0.5):
            try:
                tick()
            except HeliosError as error:  # a process crashes again and again
                sys.stderr.write(f"{error}\n")
                _thread.interrupt_main()
                return

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def wait_for_web(port: int, *, limit_s: float = 60.0) -> None:
    """Until the web process accepts connections."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"the web process must listen on port {port} within {limit_s:g} s, did not")


@contextmanager
def running_cycles() -> Iterator[str]:
    """A replay of stored daily bars through the workers until the block ends; yields the name of its book."""
    name = f"{BOOK}-{secrets.token_hex(3)}"
    argv = [sys.executable, "manage.py", "replay", *CYCLES, "--name", name]
    log = HOME / "logs" / "replay.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        replay = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=out)
        try:
            wait_for_cycles(name, 3, replay)
            yield name
            if replay.poll() not in (None, 0):
                raise SystemExit(f"the cycles must run until the story ends, they stopped: see {log}")
        finally:
            replay.terminate()
            replay.wait(30)


def wait_for_cycles(book: str, n: int, replay: subprocess.Popen[bytes], *, limit_s: float = 300.0) -> None:
    """Until the book has decided `n` times: the first cycle of a worker that has just started is slower."""
    found = f"PipelineCycle.objects.filter(book__name={book!r}, status='DONE')"
    code = f"from trading.models import PipelineCycle; print({found}.count())"
    deadline = time.monotonic() + limit_s
    while int(manage("shell", "--no-imports", "-c", code)) < n:
        if replay.poll() is not None:
            log = HOME / "logs" / "replay.out"
            raise SystemExit(f"the replay must run until the story ends, it said: {log.read_text().strip()[-500:]}")
        if time.monotonic() > deadline:
            raise SystemExit(f"{n} cycles must end within {limit_s:g} s, they did not")


def tell(story: str, port: int, token: str) -> str:
    """Run one story, show it while it happens, and return what it said."""
    command = [sys.executable, "-m", "examples.deploy_module", "--url", f"http://127.0.0.1:{port}", *STORIES[story]]
    environment = {**os.environ, "HELIOS_API_TOKEN": token, "COLUMNS": "118", "PYTHONUNBUFFERED": "1"}
    said = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    if process.returncode != EXPECTED[story]:
        raise SystemExit(f"the story {story} must end with status {EXPECTED[story]}, ended with {process.returncode}")
    return "".join(said)


def cycles_meanwhile(book: str) -> str:
    """How the book fared: cycles by state, orders by state, whether its ledger is intact."""
    code = (
        "import json\n"
        "from collections import Counter\n"
        "from trading.models import Book\n"
        "from trading.books import ledger\n"
        f"book = Book.objects.get(name={book!r})\n"
        "print(json.dumps({'cycles': Counter(book.cycles.values_list('status', flat=True)),\n"
        "    'orders': Counter(book.orders.values_list('status', flat=True)),\n"
        "    'ledger intact': ledger.verify(book.pk) is None}))"
    )
    return manage("shell", "--no-imports", "-c", code).splitlines()[-1]


def write(story: str, said: str) -> None:
    """Put the real output into the page, between its markers."""
    begin, end = f"<!-- {story}:begin -->", f"<!-- {story}:end -->"
    page = PAGE.read_text()
    block = f"{begin}\n```\n{said.rstrip()}\n```\n{end}"
    PAGE.write_text(re.sub(f"{begin}.*?{end}", lambda _: block, page, flags=re.DOTALL))


def main(words: Sequence[str] | None = None) -> int:
    """Tell the stories asked for; each must end as it should."""
    parser = argparse.ArgumentParser(prog="python -m examples.stories", description=__doc__)
    parser.add_argument("story", choices=[*STORIES, "both"])
    parser.add_argument("--write", action="store_true", help="renew docs/stories.md with the output")
    options = parser.parse_args(words)
    console, port = Console(highlight=False), prepare_environment()
    chosen = list(STORIES) if options.story == "both" else [options.story]
    console.print("Starting servers, training the model, starting workers ...")
    with running_stack(port) as token:
        for story in chosen:
            console.print(f"\n--- {story} ---")
            with running_cycles() as book:
                said = tell(story, port, token)
            closing = f"the pipeline meanwhile: {cycles_meanwhile(book)}\n"
            sys.stdout.write(closing)
            if options.write:
                write(story, said + closing)
    return 0


if __name__ == "__main__":
    from helios import terminal

    terminal.run_and_exit(main)
