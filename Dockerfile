# syntax=docker/dockerfile:1
# One image for every process; docker-compose.yml says which command each container runs.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install -r /tmp/requirements.txt

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=helios.settings \
    HELIOS_VAR_DIR=/var/lib/helios
RUN useradd --system --uid 10001 --home-dir /var/lib/helios --shell /usr/sbin/nologin helios \
    && install -d -o helios -g helios -m 0750 /var/lib/helios /var/lib/helios/models
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY celery_app.py manage.py ./
COPY helios helios
COPY trading trading
COPY tiers tiers
COPY sentinel sentinel
USER helios
VOLUME /var/lib/helios
EXPOSE 8000
# Orchestrators send SIGTERM: the server finishes its requests, a worker its task.
CMD ["uvicorn", "helios.asgi:application", "--loop", "asyncio", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--no-proxy-headers", "--limit-concurrency", "900", "--backlog", "100", "--http", "helios.web.connections:PatientProtocol", "--ws", "none"]
