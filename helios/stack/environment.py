"""The environment's mistakes, told in one sentence."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from helios.env import Env, get_env
from helios.stack import endpoints
from helios.stack.children import StackError


def load_env() -> Env:
    """The settings from the environment and `.env`. Raises: StackError that names every wrong variable."""
    try:
        env = get_env()
        for url, check in (
            (env.database_url, endpoints.django_database),
            (env.redis_url, endpoints.celery_broker),
        ):
            if url is not None:
                check(url.get_secret_value())
        env.resolved_secret_key()
    except ValidationError as error:
        raise StackError("; ".join(_sentence(detail) for detail in error.errors())) from None
    except ValueError as error:
        raise StackError(str(error)) from None
    except OSError as error:
        raise StackError(f"HELIOS_VAR_DIR cannot be written: {error.strerror or error}") from None
    return env


def _sentence(detail: ErrorDetails) -> str:
    """`HELIOS_WEB_PORT: input should be …, was 'abc'`; a secret's value is never shown."""
    said = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:  # of several settings together: its sentence names them
        return said
    name = str(detail["loc"][0])
    field = Env.model_fields.get(name.lower())
    secret = field is not None and "Secret" in str(field.annotation)
    variable = name if name.isupper() else f"HELIOS_{name.upper()}"
    message = said[0].lower() + said[1:]
    return f"{variable}: {message}" + ("" if secret else f", was {detail['input']!r}")
