"""One process at a time measures or promotes a rollout: a lock of the database session, gone with its process.

A row lock would keep people from pausing while a replay runs, and a lease would have to outlive its owner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import DatabaseError, connection


@contextlib.contextmanager
def claimed(rollout_id: int) -> Iterator[bool]:
    """Whether this session may work on the rollout; False while another one does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('helios.rollouts'), %s)", [rollout_id])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with contextlib.suppress(DatabaseError), connection.cursor() as cursor:  # a lost session has let go already
                cursor.execute("SELECT pg_advisory_unlock(hashtext('helios.rollouts'), %s)", [rollout_id])
