"""Run every measurement, print one table, write var/bench.json and the table in docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helios.env import OWN_SERVERS, get_env

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def main() -> None:
    """Measure on servers of our own under var/bench, so that nobody's data is touched."""
    os.environ["HELIOS_VAR_DIR"] = str(ROOT / "var" / "bench")
    os.environ |= OWN_SERVERS  # whatever `.env` says
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")
    import django  # noqa: PLC0415 - after the environment is set

    from helios.stack import endpoints  # noqa: PLC0415
    from helios.stack.servers import Lease  # noqa: PLC0415

    env = get_env()
    with Lease(env):
        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        from bench import backtests, breakers, chain, feed, flags, market, numerics, swaps  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        redis_url = endpoints.embedded(env.var_dir).redis_url
        os.environ["HELIOS_DATABASE_URL"] = endpoints.embedded(env.var_dir).database_url
        os.environ["HELIOS_REDIS_URL"] = redis_url
        rows: list[dict[str, Any]] = []
        for title, part in (
            ("flags", flags.measure),
            ("breakers", lambda: breakers.measure(redis_url)),
            ("module swaps", swaps.measure),
            ("chain and cycle", lambda: chain.measure(env, redis_url)),
            ("market data", market.measure),
            ("a venue's line", feed.measure),
            ("backtests", backtests.measure),
            ("numerics", numerics.measure),
        ):
            print(f"measuring {title} ...", flush=True)
            rows += part()
    publish(rows)


def publish(rows: list[dict[str, Any]]) -> None:
    """Print the table, keep the numbers, renew the table in the documents."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    target = ROOT / "var" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"measured_at": stamp, "machine": machine, "rows": rows}, indent=2) + "\n")
    table = markdown(rows)
    print(table)
    if PAGE.exists() and BEGIN in PAGE.read_text():
        head, _, rest = PAGE.read_text().partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text(f"{head}{BEGIN}\nMeasured {stamp} on {machine}.\n\n{table}\n{END}{tail}")


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, with the ratio where there is a peer."""
    lines = ["| work | ours | peer | theirs | ours / theirs | target |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row['ours'] / row['theirs']:.3g}x" if row["theirs"] else ""
        theirs = f"{row['theirs']:,.2f} {row['unit']}" if row["theirs"] else ""
        lines.append(
            f"| {row['work']} | {row['ours']:,.2f} {row['unit']} | {row['peer']} | {theirs} | {ratio} | "
            f"{row['target']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
