"""Modules in the admin: the same rules, in plain words, with a button for each change."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from helios.events.models import SystemEvent
from helios.modules import jobs, presence, services
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleJob

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]

LIST = "admin:modules_module_changelist"


@pytest.fixture
def page(client):
    client.force_login(get_user_model().objects.create_superuser("ann", password="a-long-password"))
    return client


def hidden(page) -> dict[str, str]:
    """What the form of the list sends along with every button."""
    listed = page.get(reverse(LIST)).content.decode()
    form = re.search(r'<form id="changelist-form".*?</form>', listed, re.DOTALL)
    assert form
    return dict(re.findall(r'<input type="hidden" name="((?:seen|used)-\d+)" value="([^"]+)">', form[0]))


def act(page, action: str, name: str, seen: dict[str, str] | None = None) -> str:
    form = {"action": action, "_selected_action": [Module.objects.get(name=name).pk]}
    form |= hidden(page) if seen is None else seen
    return page.post(reverse(LIST), form, follow=True).content.decode()


def worked(page, action: str, name: str) -> str:
    """Ask for work, have it done, and read the page of the job that the message leads to."""
    address = re.search(r'href="(/admin/modules/modulejob/(\d+)/change/)">', act(page, action, name))
    assert address
    jobs.run(int(address[2]))
    return page.get(address[1]).content.decode()


@pytest.mark.usefixtures("chain")
def test_the_actions_load_activate_and_unload(page):
    assert "succeeded" in worked(page, "load_selected", "source")
    assert Module.objects.get(name="source").state == "LOADED"
    assert "succeeded" in worked(page, "activate_selected", "source")
    assert Module.objects.get(name="source").state == "ACTIVE"
    assert "source is unloaded" in act(page, "unload_selected", "source")
    assert "needs source to be LOADED or ACTIVE" in act(page, "load_selected", "sink")
    assert "source ^1.0.0" in page.get(reverse(LIST)).content.decode()


@pytest.mark.usefixtures("chain")
def test_the_newest_version_is_swapped_in_and_rolled_back(page, code, monkeypatch):
    services.activate("source")
    newest = services.register("source", code("source", version="1.1.0")).label
    assert newest in page.get(reverse(LIST)).content.decode()
    with monkeypatch.context() as strict:
        strict.setattr(runs, "passes", lambda *_, **__: "not finite")
        assert "did not pass its tests: not finite" in worked(page, "swap_selected", "source")
    assert "succeeded" in worked(page, "swap_selected", "source")
    row = Module.objects.get(name="source")
    assert row.active.label == newest
    shown = page.get(reverse("admin:modules_module_change", args=[row.pk])).content.decode()
    assert "0 of the first 20 calls, 0 failed" in shown
    assert "chosen in the admin" in shown
    assert "not finite" in shown
    assert "source is rolled back" in act(page, "roll_back_selected", "source")
    assert "must have a version before the one in use" in act(page, "roll_back_selected", "source")


@pytest.mark.usefixtures("chain")
def test_a_button_is_about_the_version_that_its_list_showed(page, code):
    services.activate("source")
    seen = services.register("source", code("source", version="1.1.0")).label
    shown = hidden(page)
    services.register("source", code("source", "VERSION = '1.1.0'\ndef run(value): return 'other'\n"))
    assert f"source {seen}: " in act(page, "swap_selected", "source", shown)
    assert ModuleJob.objects.get().version.label == seen
    services.swap("source", seen, actor="bob")
    assert "to be rolled back from it, is as" in act(page, "roll_back_selected", "source", shown)
    assert "must be the one that the list showed, none came" in act(page, "swap_selected", "source", {})


@pytest.mark.usefixtures("chain")
def test_the_newest_version_is_tested(page, monkeypatch):
    asked: list[tuple[object, ...]] = []
    said = SimpleNamespace(run_id=None)
    monkeypatch.setattr(runs, "run_suites", lambda *words, **named: asked.append((*words, named["actor"])) or said)
    assert "succeeded" in worked(page, "test_selected", "source")
    label = Module.objects.get(name="source").versions.get().label
    assert asked == [("source", label, None, "ann")]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        *[(typed, "dependencies must map names to version ranges") for typed in ("[1]", '"x"', "1")],
        (f'{{"risk": "^1.0.0{" " * 100}"}}', "a version range must have at most 100 letters, had 106"),
        ('{"risk": 1}', "the version range of risk must be a string, was 1"),
        ("[" * 2_000, "this must be nested at most 32 deep, was deeper"),
        ("1" * 5_000, "this must be JSON, was not"),
        ('{"\\ud800": "^1.0.0"}', "must be Unicode text, held half a surrogate pair"),
        (f"[{'[1],' * 10_000}1]", "this must have at most 20,000 commas and opening brackets"),
        (json.dumps({f"n{number}": "^1.0.0" for number in range(9_000)}), "slots that there are, not 9,000"),
    ],
)
def test_needs_that_are_none_are_refused_in_a_sentence(page, code, typed, problem):
    form = {"name": "oracle", "path": code("oracle"), "new_slot": "on", "dependencies": typed}
    answer = page.post(reverse("admin:modules_module_add"), form)
    assert answer.status_code == 200
    assert problem in str(answer.context["adminform"].form.errors.as_data())


def test_a_module_is_registered_under_the_same_rules(page, code):
    url = reverse("admin:modules_module_add")
    form = {"name": "oracle", "path": code("oracle"), "version": "1.0.0", "dependencies": "{}"}
    misspelt = page.post(url, form).content.decode()
    assert "no module is named" in misspelt
    form["new_slot"] = "on"
    refused = page.post(url, form | {"path": "os"}).content.decode()
    assert "modules may be loaded from" in refused
    assert "This field is required" in page.post(url, form | {"path": ""}).content.decode()
    assert "but the code in" in page.post(url, form | {"version": "2.0.0"}).content.decode()
    assert page.post(url, form | {"hot_reloadable": "on"}).status_code == 302
    row = Module.objects.get(name="oracle")
    assert (row.state, row.hot_reloadable) == ("UNLOADED", True)
    assert SystemEvent.objects.get(kind="module.registered", subject="oracle").data["actor"] == "ann"
    shown = page.get(reverse("admin:modules_module_change", args=[row.pk]))
    assert "1.0.0" in shown.content.decode()
    assert "_save" not in shown.content.decode()
    assert page.post(reverse("admin:modules_module_delete", args=[row.pk])).status_code == 403


def test_a_name_that_is_there_gets_another_version(page, code):
    url = reverse("admin:modules_module_add")
    services.register("oracle", code("oracle"))
    form = {"name": "oracle", "path": code("oracle", version="1.1.0"), "version": "", "dependencies": "{}"}
    assert page.post(url, form).status_code == 302
    assert Module.objects.get(name="oracle").versions.count() == 2


@pytest.mark.usefixtures("chain")
def test_why_changed_files_were_not_taken_is_shown(page):
    Module.objects.filter(name="source").update(reload_error="line 7 is not Python")
    assert "line 7 is not Python" in page.get(reverse(LIST)).content.decode()


def test_a_viewer_reads_and_changes_nothing(client, code):
    services.register("oracle", code("oracle"))
    viewer = get_user_model().objects.create_user("vic", password="a-long-password", is_staff=True)
    from django.contrib.auth.models import Permission

    viewer.user_permissions.add(Permission.objects.get(codename="view_module"))
    client.force_login(viewer)
    assert client.get(reverse(LIST)).status_code == 200
    act(client, "load_selected", "oracle")
    assert Module.objects.get(name="oracle").state == "UNLOADED"


def test_the_processes_that_take_part_are_listed(page):
    presence.enter("gpu")
    text = page.get(reverse("admin:modules_moduleprocess_changelist")).content.decode()
    assert "gpu" in text
    assert presence.host() in text
