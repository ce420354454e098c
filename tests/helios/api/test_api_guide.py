"""The examples of docs/api.md answer as the guide shows, asked in its order by the people that it names."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from helios.flags import services
from helios.modules.models import ModuleJob
from helios.web.roles import Role
from tests.support.people import BASE, Api, api_of
from tests.support.places import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("control_plane", "unlimited")]

PEOPLE = {"ANN": Role.OPERATOR, "VIC": Role.VIEWER, "TOM": Role.OPERATOR, "TESS": Role.TRADER}
GUIDE = (ROOT / "docs/api.md").read_text()
EXAMPLES = re.findall(r"^    \$ curl -s ((?:.*\\\n)*.*)\n((?:    .*\n)+)", GUIDE, flags=re.MULTILINE)
CURL = argparse.ArgumentParser()
CURL.add_argument("address")
CURL.add_argument("-i", action="store_true")
CURL.add_argument("-X", dest="method", default="GET")
CURL.add_argument("-d", dest="body", default="")
CURL.add_argument("-H", dest="headers", action="append", default=[])


def test_every_example_of_the_guide_answers_as_it_shows() -> None:
    people = {name: api_of(role, name.lower()) for name, role in PEOPLE.items()}
    services.create("night_session", actor="ann")
    services.edit("night_session", {"owner": "desk"}, actor="ann")
    shown = {asked: status_in(answer) for asked, answer in EXAMPLES if " ... " not in asked}
    assert len(shown) > 10
    assert {asked: ask(people, asked) for asked in shown} == shown


def status_in(answer: str) -> int:
    """The status of a shown answer: that of its first line or of its problem, else 200."""
    found = re.search(r'HTTP/1.1 (\d+)|"status":(\d+)', answer)
    return int(found[1] or found[2]) if found else 200


def ask(people: dict[str, Api], asked: str) -> int:
    """The status that the request of a line of curl gets."""
    words = CURL.parse_args(shlex.split(asked.replace("\\\n", " ").split(" | ")[0]))
    headers = dict(each.split(": ") for each in words.headers)
    person = people[headers.pop("Authorization").split("$")[1]]
    job = ModuleJob.objects.values_list("pk", flat=True).last()
    path = words.address.removeprefix("http://127.0.0.1:8000").replace("$B", BASE).replace("jobs/1", f"jobs/{job}")
    return int(person.send(words.method, path, words.body.encode(), **headers).status_code)
