"""Deploy a module through the whole workflow, against a running Helios, over its REST API.

    python -m examples.deploy_module --token TOKEN                        # 10 %, 50 %, 100 %, and back again
    python -m examples.deploy_module --token TOKEN --module examples.modules.predict_brittle

It registers the module, loads it, runs its gate tests, lets it shadow, gives it a growing share of the symbols while
cycles run, and at the end rolls it back. The token needs the role trader: `manage.py api_token NAME --role trader`.
Cycles have to run meanwhile, as those of `make up`'s demo book do: a rollout that sees no decisions pauses.

In minutes nobody can show that a challenger earns no less, so errors, latency and drawdown alone are guarded here.
With `--replay` it begins over stored history, and all of Helios's guards hold: then the replay has to prove it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from helios.env import get_env
from helios.errors import SettingsError

WAIT_S, POLL_S = 900.0, 0.5
# What a few bars can tell; the guards that compare means need hundreds (docs/rollouts.md#guards).
WATCHED = [
    {"metric": "exceptions", "limit": 2, "kind": "hard"},
    {"metric": "latency_p95_ms", "limit": 1_000, "kind": "hard", "min_samples": 5},
    {"metric": "drawdown", "limit": 0.25, "kind": "hard", "required": False},
]
ENDED = {"SUCCEEDED", "ROLLED_BACK", "ABORTED"}


class Refused(Exception):  # noqa: N818 - an answer of the API, told to the person and not handled further
    """The API said no; the text is its sentence."""


class Helios:
    """The few calls that a deployment needs. A token goes with each; a POST carries an Idempotency-Key."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=30.0)
        self._run, self._sent = f"deploy-{os.getpid()}-{time.time_ns()}", 0

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON; raises `Refused` with the API's sentence."""
        return self._answer(self._client.get(f"/api/{path}", params=query))

    def post(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """The same for a POST; what a worker does (202) is waited for, and raises `Refused` where it failed."""
        self._sent += 1
        headers = {"Idempotency-Key": f"{self._run}-{self._sent}"}  # a retry of the same request acts once
        response = self._client.post(f"/api/{path}", json=body or {}, params=query, headers=headers)
        answer = self._answer(response)
        return answer if response.status_code != httpx.codes.ACCEPTED else self._done(response.headers["Location"])

    def _done(self, location: str) -> Any:
        """The job at `location` once it has ended."""
        deadline = time.monotonic() + WAIT_S
        while (job := self._answer(self._client.get(location)))["state"] in {"QUEUED", "RUNNING"}:
            if time.monotonic() > deadline:
                raise Refused(f"job {job['id']} must end within {WAIT_S:g} s, it is {job['state']}: {job['detail']}")
            time.sleep(POLL_S)
        if job["state"] != "SUCCEEDED":
            raise Refused(f"job {job['id']} failed: {job['detail']}")
        return job

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        if response.is_success:
            return response.json()
        problem = response.json() if "json" in response.headers.get("content-type", "") else {}
        fields = "; ".join(
            f"{each.get('pointer', each.get('parameter', ''))} {each['detail']}" for each in problem.get("errors", [])
        )
        said = problem.get("detail", response.text[:200])
        raise Refused(f"{response.status_code} {said}" + (f" ({fields})" if fields else ""))


class Deployment:
    """One challenger for one slot, from its registration to its end."""

    def __init__(self, helios: Helios, console: Console, *, slot: str, path: str) -> None:
        self.helios, self.console, self.slot, self.path = helios, console, slot, path
        self.label = ""

    def register(self) -> None:
        """Keep the module's sources by their hash. Nothing is imported, nothing changes for the pipeline."""
        version = self.helios.post("modularity/modules/register", {"name": self.slot, "path": self.path})
        self.label = version["label"]
        self._say(f"registered {self.slot} {self.label} from {self.path}")

    def load(self) -> None:
        """Import it in a process of its own."""
        job = self.helios.post(f"modularity/modules/{self.slot}/load", {"version": self.label})
        self._say(f"loaded, its state is {job['version']['state']}")

    def test(self, module_type: str) -> bool:
        """Run one suite of gate tests and show every result."""
        order = {"version": self.label}
        run = self.helios.post(f"modularity/modules/{self.slot}/test", order, module_type=module_type)["test"]
        table = Table("test", "required", "outcome", "ms", title=f"{module_type} suite on {self.slot} {self.label}")
        for each in run["results"]:
            required = "yes" if each["required"] else "no"
            table.add_row(each["name"], required, each["outcome"], f"{each['duration_ms']:.1f}")
        self.console.print(table)
        self._say("the gate is passed" if run["passed"] else "the gate is NOT passed")
        return bool(run["passed"])

    def roll_out(self, name: str, steps: list[dict[str, Any]], **plan: Any) -> dict[str, Any]:
        """Start a rollout and follow it until it has ended or waits for a person; its last state."""
        plan |= {"name": name, "target": self.slot, "challenger": self.label, "steps": steps}
        made = self.helios.post("modularity/rollouts", {**plan, "reason": f"deploy {self.path}"})
        self.helios.post(f"modularity/rollouts/{made['id']}/start", {"reason": "gate passed"})
        self._say(f"rollout {name} has started: {self.slot} {self.label}")
        last: dict[str, Any] = {}
        for kind, row in self._news(name):
            if kind == "analysis":
                self._say(f"  {row['verdict']:<12} {serves(steps, row['step']):<21} {row['reason'].split('; ')[0]}")
            else:
                last = row
        self._say(f"rollout {name} is {last['state']}" + (f": {last['reason']}" if last["reason"] else ""))
        if last["state"] == "PAUSED":
            self._say(
                f"it waits for a person: with cycles running `manage.py rollouts resume {name}` looks "
                f"{plan['inconclusive_limit']} times more (--patience), `abort {name}` ends it"
            )
        return last

    def statistics(self, name: str) -> None:
        """Both arms beside each other, as the rollout measured them."""
        arms = self.helios.get(f"modularity/rollouts/{name}/statistics")
        if not arms["champion"] or not arms["challenger"]:
            return
        table = Table("figure", "champion", "challenger", title=f"Both arms at {arms['serves']}")
        for figure in sorted(arms["champion"].keys() | arms["challenger"].keys()):
            table.add_row(figure, shown(arms["champion"].get(figure)), shown(arms["challenger"].get(figure)))
        self.console.print(table)

    def status(self) -> dict[str, Any]:
        """What fills the slot now."""
        row: dict[str, Any] = self.helios.get(f"modularity/modules/{self.slot}/status")
        before = f"; before it: {row['previous']}" if row["previous"] else ""
        self._say(f"in use for {self.slot}: {row['active']}{before}")
        return row

    def roll_back(self) -> None:
        """Give the slot to the version before."""
        reason = {"reason": "the example ends as it began"}
        swap = self.helios.post(f"modularity/modules/{self.slot}/rollback", reason)
        self._say(f"rolled back from {swap['from_version']} to {swap['to_version']}")

    def _news(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each analysis once, and the rollout when it changed; ends when nothing will move by itself any more."""
        seen, version, deadline = 0, -1, time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            row = self.helios.get(f"modularity/rollouts/{name}")
            for analysis in self.helios.get(f"modularity/rollouts/{name}/analyses", page_size=100)["results"][::-1]:
                if analysis["id"] > seen:
                    seen = analysis["id"]
                    yield "analysis", analysis
            if row["version"] != version:
                version = row["version"]
                yield "state", row
            if row["state"] in ENDED or row["state"] == "PAUSED":
                return
            time.sleep(POLL_S)
        raise Refused(f"rollout {name} must end within {WAIT_S:g} s, it is still under way")

    def _say(self, sentence: str) -> None:
        self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def serves(steps: list[dict[str, Any]], index: int) -> str:
    """A step in a few words."""
    step = steps[index]
    return f"{step['percentage']} % of the symbols" if step["kind"] == "live" else str(step["kind"])


def shown(value: Any) -> str:
    """A figure for a table: numbers short, an interval as low .. high."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "  ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " .. ".join(shown(each) for each in value)
    return "-" if value is None else str(value)


def plan(shares: Sequence[int], *, replay: bool, shadow: bool, interval_s: float, samples: int) -> list[dict[str, Any]]:
    """The steps of a rollout as the API wants them."""
    pace = {"interval_s": interval_s, "min_samples": samples}
    before = [{"kind": kind, **pace} for kind, wanted in (("replay", replay), ("shadow", shadow)) if wanted]
    return [*before, *({"kind": "live", "percentage": share, **pace} for share in shares)]


def deploy(helios: Helios, console: Console, options: argparse.Namespace) -> int:
    """The whole workflow; 0 when the module got the slot, 3 when it was refused on the way."""
    deployment = Deployment(helios, console, slot=options.slot, path=options.module)
    deployment.register()
    deployment.load()
    if not deployment.test(options.suite):
        return 3
    steps = plan(
        [int(share) for share in options.shares.split(",")],
        replay=options.replay,
        shadow=not options.no_shadow,
        interval_s=options.interval,
        samples=options.samples,
    )
    name = options.name or f"{options.slot}-{deployment.label.split('+')[-1]}-{int(time.time())}"
    books = [book for book in options.books.split(",") if book]
    guards = {} if options.replay else {"guards": WATCHED}
    last = deployment.roll_out(name, steps, inconclusive_limit=options.patience, books=books, **guards)
    deployment.statistics(name)
    deployment.status()
    if last["state"] != "SUCCEEDED":
        return 3
    if not options.keep:
        deployment.roll_back()
        deployment.status()
    return 0


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What may be chosen."""
    parser = argparse.ArgumentParser(prog="python -m examples.deploy_module", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--url", default="", help="where Helios answers; left out, HELIOS_WEB_PORT on this machine")
    parser.add_argument("--token", default=os.environ.get("HELIOS_API_TOKEN", ""), help="or HELIOS_API_TOKEN")
    parser.add_argument("--slot", default="predict", help="the module whose place is meant")
    parser.add_argument("--module", default="examples.modules.predict_tempered", help="dotted path of the challenger")
    parser.add_argument("--suite", default="ml", choices=["generic", "ml", "trading", "data", "risk"])
    parser.add_argument("--shares", default="10,50,100", help="percent of the symbols, step by step")
    parser.add_argument("--replay", action="store_true", help="begin with a replay that proves, under all guards")
    parser.add_argument("--no-shadow", action="store_true", help="serve symbols at once")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds a step lasts at least")
    parser.add_argument("--samples", type=int, default=8, help="decisions a step needs")
    parser.add_argument("--patience", type=int, default=20, help="inconclusive analyses in a row before it pauses")
    parser.add_argument("--books", default="", help="comma-separated; empty: all books")
    parser.add_argument("--name", default="", help="of the rollout")
    parser.add_argument("--keep", action="store_true", help="do not roll back at the end")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run it; a refusal is one sentence and status 2."""
    options = arguments(words)
    console = Console(highlight=False)
    if not options.token:
        Console(stderr=True).print("a token must be given with --token or HELIOS_API_TOKEN, was empty")
        return 2
    try:
        url = options.url or f"http://127.0.0.1:{get_env().web_port}"
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    helios = Helios(url, options.token)
    try:
        return deploy(helios, console, options)
    except (Refused, httpx.HTTPError) as error:
        said = f"{url} said {error}" if isinstance(error, Refused) else f"{url} must answer, did not: {error}"
        Console(stderr=True).print(said, markup=False, soft_wrap=True)
        return 2
    finally:
        helios.close()


if __name__ == "__main__":
    from helios import terminal

    terminal.run_and_exit(main)
