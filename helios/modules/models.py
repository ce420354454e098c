from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models


class ModuleState(models.TextChoices):
    """Registered, being checked, importable as registered, used by the pipeline, refused with a reason."""

    UNLOADED = "UNLOADED", "unloaded"
    LOADING = "LOADING", "loading"
    LOADED = "LOADED", "loaded"
    ACTIVE = "ACTIVE", "active"
    FAILED = "FAILED", "failed"


class SwapState(models.TextChoices):
    """The steps of a swap, in their order, and the ways it ends."""

    CHECKING = "CHECKING", "checking versions"
    TESTING = "TESTING", "running its tests"
    PREPARING = "PREPARING", "loading beside, everywhere"
    SWITCHED = "SWITCHED", "switched, first calls watched"
    COMPLETED = "COMPLETED", "completed"
    FAILED = "FAILED", "failed"
    ROLLED_BACK = "ROLLED_BACK", "rolled back"


ANSWERS = models.Func(  # numbers of swaps, each with a text or null
    models.F("prepared"),
    models.Value(
        'strict $ ? (@.type() == "object" && !exists(@.keyvalue() ? '
        '(!(@.key like_regex "^[0-9]{1,18}$") || !(@.value.type() == "string" || @.value.type() == "null"))))'
    ),
    function="jsonb_path_exists",
    output_field=models.BooleanField(),
)
OPEN_SWAPS = (SwapState.CHECKING, SwapState.TESTING, SwapState.PREPARING)


class Module(models.Model):
    """A slot of the pipeline: the name, the version that fills it, the one before, and how a switch is watched.

    `path`, `version`, `dependencies`, `state`, `error` and `loaded_at` are those of the version in use, or of the
    newest one while none is: what a reader of one table wants to know.
    """

    name = models.SlugField(max_length=64, unique=True)
    path = models.CharField(max_length=200, help_text="The dotted path of its package.")
    version = models.CharField(max_length=64, help_text="The semantic version that its code must carry.")
    dependencies = models.JSONField(
        default=dict,
        blank=True,
        help_text='Modules it needs and their version ranges: {"features": "^1.0.0"}.',
    )
    hot_reloadable = models.BooleanField(default=True, help_text="May be swapped while the pipeline runs.")
    state = models.CharField(max_length=16, choices=ModuleState.choices, default=ModuleState.UNLOADED)
    error = models.TextField(blank=True)
    active = models.ForeignKey(
        "ModuleVersion", null=True, blank=True, on_delete=models.RESTRICT, related_name="+", help_text="In use."
    )
    previous = models.ForeignKey(
        "ModuleVersion",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="What a rollback goes back to.",
    )
    watch = models.ForeignKey(
        "ModuleSwap",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The switch whose first calls are watched now.",
    )
    watch_calls = models.PositiveIntegerField(default=20, help_text="Real calls that are watched after a switch.")
    watch_failures = models.PositiveIntegerField(default=1, help_text="Failed watched calls that roll back.")
    reload_error = models.TextField(blank=True, help_text="Why the changed files were not swapped in.")
    reload_digest = models.CharField(max_length=64, blank=True, help_text="The content that was refused or waits.")
    generation = models.BigIntegerField(
        default=0, db_index=True, help_text="Number of its last change, over all modules."
    )
    loaded_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "modules"
        ordering = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(state__in=ModuleState.values), name="modules_state"),
            models.CheckConstraint(
                condition=~models.Q(state=ModuleState.FAILED) | ~models.Q(error=""),
                name="modules_failed_with_reason",
            ),
            models.CheckConstraint(condition=models.Q(watch_failures__gte=1), name="modules_watch_failures"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class ModuleCode(models.Model):
    """Sources by the hash of their content: any process can load what was registered, whatever lies on its disk."""

    digest = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 over path, file names, contents.")
    path = models.CharField(max_length=200)
    files = models.JSONField(help_text="File name to text, or to {base64} where it is no text.")
    size_bytes = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "module_code"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.path} {self.digest[:12]}"


class ModuleVersion(models.Model):
    """One implementation registered for a slot; its label names version and content."""

    module = models.ForeignKey(Module, on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=64, help_text="VERSION in its code.")
    label = models.CharField(max_length=80, help_text="The version and the first digits of the digest.")
    path = models.CharField(max_length=200)
    code = models.ForeignKey(ModuleCode, null=True, blank=True, on_delete=models.PROTECT, related_name="versions")
    dependencies = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=ModuleState.choices, default=ModuleState.UNLOADED)
    error = models.TextField(blank=True)
    registered_by = models.CharField(max_length=150)
    loaded_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "module_versions"
        ordering = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["module", "label"], name="module_versions_label"),
            models.UniqueConstraint(
                fields=["module"], condition=models.Q(state="ACTIVE"), name="module_versions_one_active"
            ),
            models.CheckConstraint(condition=models.Q(state__in=ModuleState.values), name="module_versions_state"),
            models.CheckConstraint(
                condition=~models.Q(state="FAILED") | ~models.Q(error=""), name="module_versions_failed_with_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.module.name} {self.label}"

    @property
    def digest(self) -> str:
        """The hash of its sources; empty for a version from before sources were kept."""
        return self.code_id or ""


class ModuleSwap(models.Model):
    """One attempt to put another version into a slot, step by step, kept as its history."""

    class Kind(models.TextChoices):
        SWAP = "swap"
        ROLLBACK = "rollback"

    module = models.ForeignKey(Module, on_delete=models.CASCADE, related_name="swaps")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.SWAP)
    from_version = models.ForeignKey(ModuleVersion, null=True, on_delete=models.SET_NULL, related_name="+")
    to_version = models.ForeignKey(ModuleVersion, on_delete=models.CASCADE, related_name="swaps")
    state = models.CharField(max_length=16, choices=SwapState.choices, default=SwapState.CHECKING)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    error = models.TextField(blank=True)
    owner = models.CharField(max_length=200, help_text="The process that carries it out: host and id.")
    expires_at = models.DateTimeField(help_text="Renewed by its owner; afterwards the owner counts as dead.")
    processes = models.PositiveIntegerField(default=0, help_text="Processes that had it ready before the switch.")
    watch_calls = models.PositiveIntegerField(default=0)
    watch_seen = models.PositiveIntegerField(default=0)
    watch_failed = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(auto_now_add=True)
    switched_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "module_swaps"
        ordering = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["module"],
                condition=models.Q(state__in=["CHECKING", "TESTING", "PREPARING"]),
                name="module_swaps_one_open",
            ),
            models.CheckConstraint(condition=models.Q(state__in=SwapState.values), name="module_swaps_state"),
            models.CheckConstraint(
                condition=~models.Q(state__in=["FAILED", "ROLLED_BACK"]) | ~models.Q(error=""),
                name="module_swaps_failed_with_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} to {self.to_version_id}: {self.state}"


class JobState(models.TextChoices):
    """Asked for, taken by a worker, ended."""

    QUEUED = "QUEUED", "queued"
    RUNNING = "RUNNING", "running"
    SUCCEEDED = "SUCCEEDED", "succeeded"
    FAILED = "FAILED", "failed"


OPEN_JOBS = (JobState.QUEUED, JobState.RUNNING)


class ModuleTestRun(models.Model):
    """One run of the suites that gate a module: what was tested, what each test said, how long it took.

    Rows name their module and version in words, without a foreign key: history outlives what it speaks of.
    """

    module = models.CharField(max_length=64)
    version = models.CharField(max_length=160, help_text="The label of the tested version.")
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the tested sources.")
    suites = models.JSONField(default=list, help_text="The suites that were run, in their order.")
    passed = models.BooleanField(help_text="Whether every required test passed.")
    results = models.JSONField(default=list, help_text="One object a test: name, suite, outcome, message.")
    output = models.TextField(blank=True, help_text="The end of what the code printed.")
    lacking = models.JSONField(default=list, help_text="Walls around its process that the machine did not allow.")
    actor = models.CharField(max_length=150)
    started_at = models.DateTimeField(db_index=True)
    duration_ms = models.FloatField()

    class Meta:
        db_table = "module_test_runs"
        ordering = ["-id"]
        indexes: ClassVar = [models.Index(fields=["module", "-id"], name="module_test_runs_latest")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(duration_ms__gte=0), name="module_test_runs_duration"),
            models.CheckConstraint(condition=~models.Q(module=""), name="module_test_runs_module"),
        ]

    def __str__(self) -> str:
        return f"{self.module} {self.version}: {'passed' if self.passed else 'failed'}"


class ModuleJob(models.Model):
    """Work that takes longer than a request may: asked for by a person, done by a worker of queue maintenance."""

    class Kind(models.TextChoices):
        LOAD = "load"
        ACTIVATE = "activate"
        TEST = "test"
        SWAP = "swap"

    module = models.ForeignKey(Module, on_delete=models.CASCADE, related_name="jobs")
    version = models.ForeignKey(ModuleVersion, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    suites = models.JSONField(default=list, blank=True, help_text="Empty: those that gate the slot.")
    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.QUEUED)
    detail = models.TextField(blank=True, help_text="What it waits for, or why it failed.")
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    swap = models.ForeignKey(ModuleSwap, null=True, on_delete=models.SET_NULL, related_name="+")
    test = models.ForeignKey(ModuleTestRun, null=True, on_delete=models.SET_NULL, related_name="+")
    owner = models.CharField(max_length=200, blank=True, help_text="The process that does it: host and id.")
    sent_at = models.DateTimeField(auto_now_add=True, help_text="When its message was last given to the broker.")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "module_jobs"
        ordering = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["module"],
                condition=models.Q(kind="swap", state__in=["QUEUED", "RUNNING"]),
                name="module_jobs_one_open_swap",
            ),
            models.CheckConstraint(condition=models.Q(state__in=JobState.values), name="module_jobs_state"),
            models.CheckConstraint(
                condition=~models.Q(state="FAILED") | ~models.Q(detail=""), name="module_jobs_failed_with_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.version}: {self.state}"


class ModuleProcess(models.Model):
    """A living process that loads modules; its row goes when it ends, and counts for nothing once it is old."""

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=128)
    pid = models.PositiveIntegerField()
    component = models.CharField(max_length=32)
    generation = models.BigIntegerField(default=0, help_text="Of the registry as this process serves it.")
    prepared = models.JSONField(default=dict, help_text="Swap number to an empty text, or to why it failed here.")
    loaded = ArrayField(models.CharField(max_length=160), default=list, help_text="What it holds ready: name label.")
    calling = models.BigIntegerField(null=True, help_text="The switch whose watched call it is in now.")
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "module_processes"
        ordering = ["started_at"]
        verbose_name_plural = "module processes"
        constraints: ClassVar = [models.CheckConstraint(condition=ANSWERS, name="module_processes_answers")]

    def __str__(self) -> str:
        return f"{self.component} {self.host}:{self.pid}"
