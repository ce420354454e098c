"""People at the pages of the admin: what they press and fill in, and what the pages say to them."""

from __future__ import annotations

import html
import json
import re
from typing import Any, Final

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.forms.models import model_to_dict
from django.test import Client

from helios.web.roles import Role
from tests.support.people import person

FLAGS, SEGMENTS = "/admin/flags/featureflag/", "/admin/flags/flagsegment/"
BREAKERS, MODULES, ROLLOUTS = "/admin/breakers/circuitbreaker/", "/admin/modules/module/", "/admin/rollouts/rollout/"
PEOPLE: Final = ("nobody", "viewer", "operator", "trader", "superuser")
HISTORY: Final = {"history-TOTAL_FORMS": "0", "history-INITIAL_FORMS": "0"}
EVENTS: Final = {"events-TOTAL_FORMS": "0", "events-INITIAL_FORMS": "0"}


class Desk:
    """One person in the admin; `nobody` has every permission of Django in these apps, and no role."""

    def __init__(self, name: str) -> None:
        self.name, self.http = name, Client()
        if name == "superuser":
            user = User.objects.create_superuser(name)
        else:
            user = person(next((role for role in Role if role.label == name), None), name)
            user.is_staff = True
            user.save()
        if name == "nobody":
            apps = ("flags", "breakers", "modules", "rollouts")
            user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=apps))
        self.http.force_login(user)

    def at_least(self, role: Role) -> bool:
        return PEOPLE.index(self.name) >= PEOPLE.index(role.label)

    def press(self, page: str, action: str, row: Any, **more: str) -> str:
        """What the person is told: the messages, and the page where it comes at once."""
        sent = {"action": f"{action}_selected", "_selected_action": [str(row.pk)], **more}
        response = self.http.post(page, sent)
        return " ".join([*map(str, get_messages(response.wsgi_request)), words(response)])

    def get(self, page: str) -> str:
        return words(self.http.get(page))


def words(response: Any) -> str:
    """What a page says; none of them is an error of the server."""
    assert response.status_code < 500
    return html.unescape(re.sub(r"\s+", " ", response.content.decode()))


def sent(row: Any, **changes: Any) -> dict[str, str]:
    """What a browser would send from the form of this row, with some fields changed."""
    values = model_to_dict(row) | {"seen_version": row.version, "reason": "from a test"} | changes
    return {name: _typed(value) for name, value in values.items() if value is not False and value is not None}


def form(browser: Client, url: str) -> dict[str, str]:
    """What a browser would send back from this page of flags, unchanged."""
    values: dict[str, str] = {}
    for field in browser.get(url).context["adminform"].form:
        value = field.value()
        if isinstance(value, bool):
            values |= {field.html_name: "on"} if value else {}
        elif field.field.__class__.__name__.endswith("SplitDateTimeField"):
            values |= {f"{field.html_name}_0": "", f"{field.html_name}_1": ""}
        else:
            listed = ",".join(value) if isinstance(value, list) else value
            values[field.html_name] = "" if listed is None else str(listed)
    counts = {"TOTAL": "0", "INITIAL": "0", "MIN_NUM": "0", "MAX_NUM": "0"}
    return values | {f"history-{name}_FORMS": count for name, count in counts.items()}


def _typed(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return "on" if value is True else json.dumps(value) if isinstance(value, list | dict) else str(value)


def save(desk: Desk, page: str, row: Any, **changes: Any) -> Any:
    return desk.http.post(f"{page}{row.pk}/change/", sent(row, **changes) | HISTORY | EVENTS)
