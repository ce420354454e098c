"""A database of before the tables were laid out anew is refused whole."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


@pytest.mark.django_db
@pytest.mark.parametrize("applied", [("platform", "0001_idempotency_keys"), ("trading", "0009_features_of_a_version")])
def test_it_is_refused_with_the_way_out_and_nothing_is_migrated(applied):
    MigrationRecorder(connection).record_applied(*applied)
    before = MigrationRecorder(connection).applied_migrations().keys()
    with pytest.raises(CommandError, match="made by an earlier one: `make clean` removes it with all its data"):
        call_command("migrate", verbosity=0)
    assert MigrationRecorder(connection).applied_migrations().keys() == before
