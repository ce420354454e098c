"""One process that writes down when a flag flipped: `python -m bench.flag_watcher NAME FILE`, until it is ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django


def main(name: str, target: Path) -> None:
    """Look at the flag every millisecond; monotonic time is the same in every process of a machine."""
    django.setup()
    from helios import flags  # noqa: PLC0415 - after Django is set up

    listener = flags.start_listener()
    before = flags.is_enabled(name)
    if not listener.listening.wait(30):
        raise SystemExit("the listener must hear announcements within 30 s, did not")
    print("ready", flush=True)
    with target.open("w", buffering=1) as seen:
        while True:
            now = flags.is_enabled(name)
            if now is not before:
                seen.write(f"{time.monotonic()}\n")
                before = now
            time.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
