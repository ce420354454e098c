"""Makefile, container files and CI agree with the code they start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from helios.env import Env
from helios.stack import endpoints, processes
from tests.support.places import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
TARGETS = (
    *("help", "demo", "up", "test", "soak", "check", "bench", "story-promoted", "story-faulty"),
    *("lint", "format", "install", "stop", "clean", "distclean"),
)


def words_of(command: list[str]) -> list[str]:
    """A command line from the name of the program on, without what differs between a laptop and a container."""
    differs = re.compile(r"--(address|port|host)=|\$\{")
    begin = command.index("celery" if "celery" in command else "manage.py")
    return [word for word in command[begin + 1 :] if not differs.match(word)]


def test_help_lists_every_target_and_is_what_plain_make_does() -> None:
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in shown.splitlines()] == sorted(TARGETS, key=shown.index)
    assert set(TARGETS) == {line.split()[1] for line in shown.splitlines()}


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_planned(target: str) -> None:
    subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_an_old_python_is_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.exit(1)"\n')
    old.chmod(0o755)
    result = subprocess.run(["make", "python", f"PYTHON={old}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stderr.startswith("Helios needs Python 3.11 or newer")


def test_ci_runs_checks_and_demo_and_ends_with_the_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["check", "demo", "test"]
    assert script.rstrip().endswith("make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert {"run": ".ci/run", "env": {"AUDIT": "strict"}} in workflow["jobs"]["gate"]["steps"]


def test_containers_run_the_same_commands_as_the_local_stack(make_env: Callable[..., Env]) -> None:
    for spec in processes.everything(make_env()):
        service = SERVICES[spec.name]
        assert service["environment"]["HELIOS_COMPONENT"] == spec.name
        if spec.name != "web":
            local = [word for word in spec.argv if word not in {"-P", "prefork"}]
            inside = [word for word in service["command"] if word not in {"-P", "prefork"}]
            ignored = {"2"}  # the number of children, which a container takes from its environment
            assert [word for word in words_of(inside) if word not in ignored] == [
                word for word in words_of(local) if word not in ignored
            ], spec.name


def test_every_queue_is_served_in_containers() -> None:
    served = {
        queue
        for service in SERVICES.values()
        if "-Q" in service.get("command", [])
        for queue in service["command"][service["command"].index("-Q") + 1].split(",")
    }
    assert served == set(settings.CELERY_TASK_QUEUES)


def test_each_container_speaks_to_the_database_under_the_role_of_its_component() -> None:
    for name, service in SERVICES.items():
        if url := service.get("environment", {}).get("HELIOS_DATABASE_URL"):
            role = endpoints.OF_COMPONENT.get(name, endpoints.OWNER)
            assert re.match(r"postgresql://(\w+):", url)[1] == role, name


def volumes_of(service: dict[str, Any]) -> dict[str, bool]:
    """The named volumes of a service: whether it may write them."""
    mounts = [each.split(":") for each in service.get("volumes", []) if each.split(":")[0] in COMPOSE["volumes"]]
    return {name: "ro" not in options for name, _, *options in mounts}


def test_no_container_reads_what_one_with_the_role_of_workers_writes() -> None:
    workers = {name for name in SERVICES if endpoints.OF_COMPONENT.get(name) == endpoints.WORKER}
    assert workers == {"worker", "gpu"}
    for name in workers:
        assert not [volume for volume, writes in volumes_of(SERVICES[name]).items() if writes], name
        memory = [each.partition(":")[0] for each in SERVICES[name]["tmpfs"]]
        assert "/var/lib/helios" in memory, f"{name}: what code in charge leaves there must go with the container"
        assert "$" not in SERVICES[name]["environment"]["HELIOS_SECRET_KEY"], f"{name}: it signs nothing"
    # The home too, where numba keeps what it compiled of Helios itself, which lies in the image.
    assert "--home-dir /var/lib/helios " in (ROOT / "Dockerfile").read_text()


def test_models_are_written_by_a_persons_commands_and_read_everywhere() -> None:
    own = [name for name, service in SERVICES.items() if "build" in service]
    assert {name for name in own if volumes_of(SERVICES[name])["models"]} == {"manage"}
    assert "HELIOS_COMPONENT" not in SERVICES["manage"]["environment"]  # the web, for one, loads no code of modules
    assert "-m 0750 /var/lib/helios /var/lib/helios/models" in (ROOT / "Dockerfile").read_text()


def test_no_container_has_a_default_password() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "HELIOS_SECRET_KEY", "FLOWER_BASIC_AUTH"):
        assert set(re.findall(rf"\$\{{{name}(.)", text)) == {":"}, name
    for name in set(re.findall(r"\$\{(\w+PASSWORD)", text)):
        assert f"{name}:?" in text
        assert f"{name}:-" not in text


def test_every_container_variable_is_documented() -> None:
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    assert {name for name in named if not re.search(rf"^#?{name}=", example, re.MULTILINE)} == set()


def test_ports_are_published_on_the_loopback_interface_unless_asked() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(port.split(":-")[1] for port in published) == ["127.0.0.1:5555}:5555", "127.0.0.1:8000}:8000"]
    assert "ports" not in SERVICES["postgres"]
    assert "ports" not in SERVICES["valkey"]


def test_long_running_containers_restart_and_are_watched() -> None:
    for name, service in SERVICES.items():
        if name in {"migrate", "manage"}:
            continue
        assert service["restart"] == "unless-stopped", name
        assert "healthcheck" in service or name == "beat", f"{name}: the sentinel watches beat by its heartbeat"


def test_what_a_container_prints_is_bounded() -> None:
    for name, service in SERVICES.items():
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_the_image_holds_the_program_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for package in ("helios", "trading", "tiers", "sentinel"):
        assert f"COPY {package} {package}" in text
        assert f"!{package}" in (ROOT / ".dockerignore").read_text()
    assert text.index("USER helios") < text.index("CMD ")
    assert text.count("FROM ") == 2


def test_the_gpu_overlay_adds_a_device_to_an_existing_service() -> None:
    overlay = yaml.safe_load((ROOT / "deploy" / "gpu.yml").read_text())
    assert set(overlay["services"]) <= set(SERVICES)
