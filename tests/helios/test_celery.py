"""What the Celery application knows."""

from __future__ import annotations

from django.conf import settings

from helios.celery import app, config


def test_its_configuration_holds_what_celery_needs_and_no_other_setting() -> None:
    ours = {name.removeprefix("CELERY_").lower() for name in dir(settings) if name.startswith("CELERY_")}
    assert set(config) == ours
    told = app.conf.table(with_defaults=True)
    assert ours <= set(told)
    assert {"SECRET_KEY", "DATABASES", "CACHES", "REDIS_URL", "VAR_DIR"} & set(told) == set()
    for secret in (settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"] or "no password"):
        assert secret not in str(told)
