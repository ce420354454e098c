"""One worker's view of a swap: `python -m bench.module_caller SLOT FILE` writes how long each switching start took."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django


def main(slot: str, target: Path) -> None:
    """Begin a task again and again: check the generation, resolve the module. Milliseconds of those that switched."""
    django.setup()
    from helios.modules import process, swap_worker  # noqa: PLC0415 - after Django is set up

    swap_worker.start()
    process.refresh_if_behind()
    before = process.resolve(slot).version
    print("ready", flush=True)
    with target.open("w", buffering=1) as pauses:
        while True:
            began = time.perf_counter()
            process.refresh_if_behind()
            version = process.resolve(slot).version
            took_ms = (time.perf_counter() - began) * 1e3
            if version != before:
                pauses.write(f"{took_ms}\n")
                before = version
            time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
