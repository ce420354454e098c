"""POSTs that may be sent twice: under one `Idempotency-Key` the change happens once and is answered twice.

A change of one transaction is kept together with its answer in that transaction. A change that commits on its
way, such as a swap, is announced before and answered after; when its process dies between, its outcome
is not known, and the key says so until it expires. What makes trading safer is done again, whatever its key: an
answer from before would say that a book is halted which somebody let trade since.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final, cast

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from helios.db.locks import try_hold
from helios.errors import Ambiguous, Conflict, Rejected
from helios.web.lanes import is_safer
from helios.web.models import IdempotencyKey
from helios.web.parsing import AnyNumber
from helios.web.problems import InvalidHeader

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEPT: Final = timedelta(hours=24)
KEPT_HEADERS: Final = ("ETag", "Location")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[..., Response]
Answer = Response | HttpResponse


def idempotent(*, atomic: bool = True) -> Callable[[Handler], Callable[..., Answer]]:
    """A view's method honours `Idempotency-Key`; `atomic`: the change and its answer are one transaction.

    Refused requests leave no answer: they changed nothing, so the same key may try again.
    """

    def around(handler: Handler) -> Callable[..., Answer]:
        @wraps(handler)
        def method(view: Any, request: Request, *args: Any, **kwargs: Any) -> Answer:
            key = _key(request)
            if key is None or is_safer(str(request.method), request.path):
                return handler(view, request, *args, **kwargs)

            def change() -> Response:
                return handler(view, request, *args, **kwargs)

            return (_together if atomic else _in_steps)(request, key, change)

        method.idempotent = True  # type: ignore[attr-defined] # the schema documents the header
        return method

    return around


def forget_expired(now: datetime) -> int:
    """Delete the keys older than a day; returns how many."""
    return IdempotencyKey.objects.filter(created_at__lt=now - KEPT).delete()[0]


def _together(request: Request, key: str, change: Callable[[], Response]) -> Answer:
    with transaction.atomic():
        _claim(request, key)
        stored = _stored(request, key)
        if stored is not None:
            return stored
        row = _row(request, key)
        answer = change()
        _keep(row, answer)
    return answer


def _in_steps(request: Request, key: str, change: Callable[[], Response]) -> Answer:
    with transaction.atomic():
        _claim(request, key)
        stored = _stored(request, key)
        if stored is not None:
            return stored
        row = _row(request, key)
        row.save()
    try:
        answer = change()
    except Ambiguous:
        raise  # it may have happened: the key stays taken
    except Exception:
        row.delete()
        raise
    _keep(row, answer)
    return answer


def _key(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidHeader({HEADER: ["must be 1 to 255 visible ASCII characters, was not"]})
    return key


def _claim(request: Request, key: str) -> None:
    """Hold the key for this transaction; `Conflict` while another request holds it."""
    if not try_hold(f"idempotency {_user(request).pk} {key}"):
        raise Conflict(f"a request with this {HEADER} is under way: wait for its answer")


def _stored(request: Request, key: str) -> HttpResponse | None:
    """The answer that this key has already, None when it is new. Expired keys are new again."""
    row = IdempotencyKey.objects.filter(user=_user(request), key=key).first()
    if row is None:
        return None
    if row.created_at < timezone.now() - KEPT:
        row.delete()
        return None
    if (row.method, row.path, row.request_hash) != _asked(request):
        raise Rejected(f"an {HEADER} must come with the request it was first used for, this is another")
    if row.status is None:
        raise Ambiguous(
            f"a request with this {HEADER} is under way, or its process died: look at what it did before "
            "you repeat it with a new key"
        )
    answer = HttpResponse(row.body, status=row.status, content_type="application/json")
    for name, value in row.headers.items():
        answer[name] = value
    answer[REPLAYED] = "true"
    return answer


def _row(request: Request, key: str) -> IdempotencyKey:
    method, path, digest = _asked(request)
    return IdempotencyKey(user=_user(request), key=key, method=method, path=path, request_hash=digest)


def _asked(request: Request) -> tuple[str, str, str]:
    """Method, path, and the hash of parameters and body; two spellings of one JSON value hash alike."""
    asked = [sorted(request.query_params.lists()), request.data]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return str(request.method), request.path, digest


def _keep(row: IdempotencyKey, answer: Response) -> None:
    row.status = answer.status_code
    row.body = AnyNumber().render(answer.data).decode() if answer.data is not None else ""
    row.headers = {name: answer[name] for name in KEPT_HEADERS if name in answer}
    row.save()


def _user(request: Request) -> User:
    return cast("User", request.user)
