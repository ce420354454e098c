"""Django's sessions in the database, under ids that this server can be seen to have made."""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.db import connection
from django.utils.crypto import get_random_string

from helios.web.marks import marked


def forget_ended() -> int:
    """Delete the sessions that have ended; returns how many. For a role that may not read them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT forget_ended_sessions()")
        (gone,) = cursor.fetchone()
    return int(gone)


class SessionStore(db.SessionStore):
    """As Django's; ids of before are taken too."""

    def _get_new_session_key(self) -> str:
        while self.exists(key := marked(get_random_string(24, VALID_KEY_CHARS))):
            pass
        return key
