"""A django-waffle switch read through a Redis cache: prints microseconds a call as JSON."""

from __future__ import annotations

import json

import django
from django.conf import settings
from django.core.management import call_command

from bench.timing import per_call_us


def main() -> None:
    """Waffle beside nothing else, on Helios' own PostgreSQL and Valkey."""
    from helios import settings as helios_settings  # noqa: PLC0415

    settings.configure(
        SECRET_KEY="bench",  # noqa: S106 - signs nothing
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "waffle"],
        DATABASES=helios_settings.DATABASES,
        CACHES=helios_settings.CACHES,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", "waffle", verbosity=0)
    import waffle  # noqa: PLC0415
    from waffle.models import Switch  # noqa: PLC0415

    Switch.objects.update_or_create(name="bench", defaults={"active": True})
    assert waffle.switch_is_active("bench")  # noqa: S101 - a switch that is off would be measured for nothing
    print(json.dumps({"us": per_call_us(lambda: waffle.switch_is_active("bench"), n=2_000)}))


if __name__ == "__main__":
    main()
