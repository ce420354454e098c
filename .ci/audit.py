"""Known advisories against what is pinned, as `make check` asks for them: pip-audit over PyPI's list.

Where the list cannot be asked (no network, a mirror without it) that is said, and is no failure unless AUDIT=strict.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final

PINS: Final = ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt", "requirements-sdk.txt")
ACCEPTED: Final[dict[str, str]] = {}  # advisory: why it does not concern us


def main() -> int:
    """Print each advisory, or how many packages have none; the exit status."""
    files = [word for pins in PINS for word in ("-r", pins)]
    accepted = [word for advisory in ACCEPTED for word in ("--ignore-vuln", advisory)]
    argv = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--timeout", "10", "-f", "json"]
    argv += [*files, *accepted, "--progress-spinner", "off"]
    run = subprocess.run(argv, check=False, capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(run.stdout)["dependencies"]
    except ValueError:
        return _unasked((run.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    asked = [each for each in found if "vulns" in each]
    known = [(each, advisory) for each in asked for advisory in each["vulns"]]
    for each, advisory in known:
        fixed = ", ".join(advisory["fix_versions"]) or "no version"
        sys.stdout.write(f"{each['name']} {each['version']}: {advisory['id']}, fixed in {fixed}\n")
    sys.stdout.write(f"Advisories: {len(known)} against {len(asked)} of {len(found)} pinned packages.\n")
    unasked = [each["skip_reason"] for each in found if "vulns" not in each]
    return bool(known) or (bool(unasked) and _unasked(unasked[0]))


def _unasked(why: str) -> int:
    sys.stdout.write(f"The advisories could not all be asked for, which says nothing about the rest: {why}\n")
    return os.environ.get("AUDIT") == "strict"


if __name__ == "__main__":
    sys.exit(main())
