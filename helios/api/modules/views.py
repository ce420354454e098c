"""Modules over HTTP: register, load, test, swap and roll back. What takes long is a job, done by a worker."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from helios.api.modules import shapes
from helios.modules import jobs, presence, process, services
from helios.modules.models import OPEN_SWAPS, Module, ModuleJob, ModuleSwap, ModuleTestRun, ModuleVersion
from helios.web.access import demand
from helios.web.base_views import ApiView, ListView, actor, body, query, unknown
from helios.web.idempotency import idempotent
from helios.web.openapi import described, listed, posted
from helios.web.roles import Role
from helios.web.shapes import Reasoned

TAG: Final = "modules"
Kind = ModuleJob.Kind


def get_module(name: str) -> Module:
    """The slot, or 404 with the nearest name."""
    row = Module.objects.select_related("active", "previous").filter(name=name).first()
    if row is None:
        raise unknown("module", name, Module.objects.values_list("name", flat=True))
    return row


def _swaps() -> QuerySet[ModuleSwap]:
    return ModuleSwap.objects.select_related("module", "from_version", "to_version")


def _swapped(pk: int) -> Response:
    headers = {"Location": f"/api/modularity/modules/swaps/{pk}"}
    return Response(shapes.SwapSerializer(_swaps().get(pk=pk)).data, headers=headers)


@listed(TAG, "List modules", "modules_list")
class ModuleList(ListView[Module]):
    """All slots, by name."""

    serializer_class = shapes.ModuleSerializer
    filters = shapes.ModuleFilter
    lookups: ClassVar = {"state": "state", "hot_reloadable": "hot_reloadable"}

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[Module]:
        return Module.objects.select_related("active", "previous").order_by("name")


class ModuleStatuses(ApiView):
    """All slots at a glance."""

    @described(TAG, "Read all modules' states", "modules_statuses", shapes.Statuses)
    def get(self, _request: Request) -> Response:
        """The state of every slot, swaps under way, and which processes serve which generation."""
        process.refresh_if_behind()
        states = dict(Module.objects.order_by("name").values_list("name", "state"))
        answer = {
            "modules": states,
            "counts": Counter(states.values()),
            "generation": process.generation(),
            "swaps_open": _swaps().filter(state__in=OPEN_SWAPS),
            "processes": presence.live(),
        }
        return Response(shapes.Statuses(answer).data)


class ModuleStatus(ApiView):
    """One slot."""

    @described(TAG, "Read a module's status", "modules_status", shapes.ModuleStatusSerializer)
    def get(self, _request: Request, name: str) -> Response:
        """Whether the slot is in use, what failed, who needs it, its last swap and its last test."""
        return Response(shapes.ModuleStatusSerializer(get_module(name)).data)


@listed(TAG, "List a module's versions", "modules_versions")
class Versions(ListView[ModuleVersion]):
    """What is registered for a slot, newest first."""

    serializer_class = shapes.VersionSerializer

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[ModuleVersion]:
        return (
            ModuleVersion.objects.filter(module=get_module(self.kwargs["name"]))
            .select_related("module")
            .order_by("-id")
        )


@listed(TAG, "List a module's tests", "modules_test_history")
class TestHistory(ListView[ModuleTestRun]):
    """What was tested, newest first; what each test said has an address of its own."""

    serializer_class = shapes.TestRunRow
    filters = shapes.TestFilter
    lookups: ClassVar = {"passed": "passed", "version": "version"}

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[ModuleTestRun]:
        runs = ModuleTestRun.objects.filter(module=get_module(self.kwargs["name"]).name)
        return runs.defer("results", "output").order_by("-id")


class TestRun(ApiView):
    """One run of suites."""

    @described(TAG, "Read a module's test", "modules_test_read", shapes.TestRunSerializer)
    def get(self, _request: Request, name: str, pk: int) -> Response:
        """What each test said, and the end of what the code printed."""
        row = ModuleTestRun.objects.filter(module=get_module(name).name, pk=pk).first() if pk < 2**63 else None
        if row is None:
            raise exceptions.NotFound(f"no test of {name} has the number {pk}")
        return Response(shapes.TestRunSerializer(row).data)


@posted(TAG, "Register a module", "modules_register", shapes.VersionSerializer, shapes.NewModule, status=201)
class Register(ApiView):
    """A slot, or another version for one."""

    @idempotent()
    def post(self, request: Request) -> Response:
        """Keeps the sources by their hash; nothing is imported and nothing changes for the pipeline."""
        wanted = body(request, shapes.NewModule)
        if wanted["new_slot"]:
            demand(request, Role.TRADER)  # there is room for so many, and none is ever taken away
        version = services.register(
            wanted["name"],
            wanted["path"],
            wanted["version"],
            dependencies=wanted.get("dependencies"),
            hot_reloadable=wanted.get("hot_reloadable"),
            new_slot=wanted["new_slot"],
            actor=actor(request),
        )
        headers = {"Location": f"/api/modularity/modules/{wanted['name']}/status"}
        return Response(shapes.VersionSerializer(version).data, status=HTTPStatus.CREATED, headers=headers)


def _enqueued(job: ModuleJob) -> Response:
    """202: a worker does it, and the job at Location says how far it is and how it ended."""
    headers = {"Location": f"/api/modularity/modules/jobs/{job.pk}"}
    return Response(shapes.JobSerializer(job).data, status=HTTPStatus.ACCEPTED, headers=headers)


class _Queued(ApiView):
    """What a worker does to one version."""

    kind: ClassVar[ModuleJob.Kind]

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        version = body(request, shapes.WhichVersion)["version"]
        return _enqueued(jobs.enqueue(self.kind, get_module(name).name, version, actor=actor(request)))


@posted(TAG, "Load a version", "modules_load", shapes.JobSerializer, shapes.WhichVersion, status=202)
class Load(_Queued):
    """Has a worker run the slot's gates on the code; the job at Location says whether it can be used."""

    kind = Kind.LOAD


@posted(TAG, "Activate a version", "modules_activate", shapes.JobSerializer, shapes.WhichVersion, status=202)
class Activate(_Queued):
    """For a slot that no version fills; one that is in use is swapped. A worker runs the slot's gates on it first."""

    kind = Kind.ACTIVATE


@posted(TAG, "Unload a version", "modules_unload", shapes.ModuleSerializer, shapes.WhichVersion)
class Unload(ApiView):
    """Take a version out of use."""

    @idempotent(atomic=False)
    def post(self, request: Request, name: str) -> Response:
        """Cycles end at a slot without a version; refused while another module in use needs it."""
        wanted = body(request, shapes.WhichVersion)
        services.unload(get_module(name).name, wanted["version"], actor=actor(request))
        return Response(shapes.ModuleSerializer(get_module(name)).data)


@posted(TAG, "Test a version", "modules_test", shapes.JobSerializer, shapes.TestOrder, [shapes.TestQuery], status=202)
class Test(ApiView):
    """Gate tests."""

    @idempotent()
    def post(self, request: Request, name: str) -> Response:
        """Has a worker run suites on a version in a process of its own; `test` of the job at Location is the result."""
        kind = query(request, shapes.TestQuery).get("module_type")
        wanted = body(request, shapes.TestOrder, reads_query=True)
        if kind and "suites" in wanted:
            raise exceptions.ValidationError({"suites": ["must be left out where module_type names the suite"]})
        suites = [kind] if kind else wanted.get("suites")
        name, version = get_module(name).name, wanted["version"]
        return _enqueued(jobs.enqueue(Kind.TEST, name, version, suites=suites, actor=actor(request)))


@posted(TAG, "Swap a module's version", "modules_swap", shapes.JobSerializer, shapes.NewSwap, status=202)
class Swap(ApiView):
    """Another version takes a slot."""

    @idempotent()
    def post(self, request: Request) -> Response:
        """Checks; then a worker tests it, loads it beside in every process, and switches. The job at Location follows.

        Refused (422) or failed, everything goes on with the version it had; 409 while another swap of the slot is
        asked for or runs.
        """
        wanted = body(request, shapes.NewSwap)
        name, version, suites = get_module(wanted["name"]).name, wanted["version"], wanted.get("suites")
        job = jobs.enqueue(Kind.SWAP, name, version, suites=suites, actor=actor(request), reason=wanted["reason"])
        return _enqueued(job)


class JobDetail(ApiView):
    """Work that a request asked for."""

    @described(TAG, "Read a job", "module_jobs_read", shapes.JobSerializer)
    def get(self, _request: Request, pk: int) -> Response:
        """How far it is, what it waits for, and how it ended: `swap` and `test` are its results."""
        job = jobs.get(pk)
        if job is None:
            raise exceptions.NotFound(f"no job has the number {pk}")
        return Response(shapes.JobSerializer(job).data)


@posted(TAG, "Cancel a test or a load", "module_jobs_cancel", shapes.JobSerializer, Reasoned)
class CancelJob(ApiView):
    """Work that waits is not done."""

    @idempotent()
    def post(self, request: Request, pk: int) -> Response:
        """While it waits; one that runs or has ended, and what puts code in charge, is refused (422)."""
        job = jobs.cancel(pk, actor=actor(request), reason=body(request, Reasoned)["reason"])
        return Response(shapes.JobSerializer(job).data)


@posted(TAG, "Roll a module back", "modules_rollback", shapes.SwapSerializer, shapes.NewRollback)
class Rollback(ApiView):
    """The version before takes the slot again."""

    @idempotent(atomic=False)
    def post(self, request: Request, name: str) -> Response:
        """At once: it was in use, so it is not tested again. One that was refused since stays out (422).

        A swap of the slot that waits or is under way is ended by it.
        """
        wanted = body(request, shapes.NewRollback)
        name, used = get_module(name).name, wanted["from_version"]
        swap = services.rollback(name, used, actor=actor(request), reason=wanted["reason"])
        return _swapped(swap.pk)


@listed(TAG, "List swaps", "swaps_list")
class SwapList(ListView[ModuleSwap]):
    """Swaps and rollbacks, newest first."""

    serializer_class = shapes.SwapSerializer
    filters = shapes.SwapFilter
    lookups: ClassVar = {"module": "module__name", "state": "state", "kind": "kind"}

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[ModuleSwap]:
        return _swaps().order_by("-id")


class SwapDetail(ApiView):
    """One swap."""

    @described(TAG, "Read a swap", "swaps_read", shapes.SwapSerializer)
    def get(self, _request: Request, pk: int) -> Response:
        """Its state, its error, and how its first calls went."""
        row = _swaps().filter(pk=pk).first() if pk < 2**63 else None
        if row is None:
            raise exceptions.NotFound(f"no swap has the number {pk}")
        return Response(shapes.SwapSerializer(row).data)
