import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Module",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=64, unique=True)),
                ("path", models.CharField(help_text="The dotted path of its package.", max_length=200)),
                (
                    "version",
                    models.CharField(help_text="The semantic version that its code must carry.", max_length=64),
                ),
                (
                    "dependencies",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='Modules it needs and their version ranges: {"features": "^1.0.0"}.',
                    ),
                ),
                (
                    "hot_reloadable",
                    models.BooleanField(default=True, help_text="May be swapped while the pipeline runs."),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("UNLOADED", "unloaded"),
                            ("LOADING", "loading"),
                            ("LOADED", "loaded"),
                            ("ACTIVE", "active"),
                            ("FAILED", "failed"),
                        ],
                        default="UNLOADED",
                        max_length=16,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "watch_calls",
                    models.PositiveIntegerField(default=20, help_text="Real calls that are watched after a switch."),
                ),
                (
                    "watch_failures",
                    models.PositiveIntegerField(default=1, help_text="Failed watched calls that roll back."),
                ),
                ("reload_error", models.TextField(blank=True, help_text="Why the changed files were not swapped in.")),
                (
                    "reload_digest",
                    models.CharField(blank=True, help_text="The content that was refused or waits.", max_length=64),
                ),
                (
                    "generation",
                    models.BigIntegerField(
                        db_index=True, default=0, help_text="Number of its last change, over all modules."
                    ),
                ),
                ("loaded_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "modules",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ModuleCode",
            fields=[
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 over path, file names, contents.",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("path", models.CharField(max_length=200)),
                ("files", models.JSONField(help_text="File name to text, or to {base64} where it is no text.")),
                ("size_bytes", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "module_code",
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="ModuleProcess",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=128)),
                ("pid", models.PositiveIntegerField()),
                ("component", models.CharField(max_length=32)),
                (
                    "generation",
                    models.BigIntegerField(default=0, help_text="Of the registry as this process serves it."),
                ),
                (
                    "prepared",
                    models.JSONField(default=dict, help_text="Swap number to an empty text, or to why it failed here."),
                ),
                (
                    "loaded",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=160),
                        default=list,
                        help_text="What it holds ready: name label.",
                        size=None,
                    ),
                ),
                ("calling", models.BigIntegerField(help_text="The switch whose watched call it is in now.", null=True)),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("seen_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "verbose_name_plural": "module processes",
                "db_table": "module_processes",
                "ordering": ["started_at"],
            },
        ),
        migrations.CreateModel(
            name="ModuleSwap",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("swap", "Swap"), ("rollback", "Rollback")], default="swap", max_length=8
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("CHECKING", "checking versions"),
                            ("TESTING", "running its tests"),
                            ("PREPARING", "loading beside, everywhere"),
                            ("SWITCHED", "switched, first calls watched"),
                            ("COMPLETED", "completed"),
                            ("FAILED", "failed"),
                            ("ROLLED_BACK", "rolled back"),
                        ],
                        default="CHECKING",
                        max_length=16,
                    ),
                ),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
                ("owner", models.CharField(help_text="The process that carries it out: host and id.", max_length=200)),
                (
                    "expires_at",
                    models.DateTimeField(help_text="Renewed by its owner; afterwards the owner counts as dead."),
                ),
                (
                    "processes",
                    models.PositiveIntegerField(default=0, help_text="Processes that had it ready before the switch."),
                ),
                ("watch_calls", models.PositiveIntegerField(default=0)),
                ("watch_seen", models.PositiveIntegerField(default=0)),
                ("watch_failed", models.PositiveIntegerField(default=0)),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("switched_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "module",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="swaps", to="modules.module"
                    ),
                ),
            ],
            options={
                "db_table": "module_swaps",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="module",
            name="watch",
            field=models.ForeignKey(
                blank=True,
                help_text="The switch whose first calls are watched now.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="modules.moduleswap",
            ),
        ),
        migrations.CreateModel(
            name="ModuleTestRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("module", models.CharField(max_length=64)),
                ("version", models.CharField(help_text="The label of the tested version.", max_length=160)),
                ("digest", models.CharField(blank=True, help_text="SHA-256 of the tested sources.", max_length=64)),
                ("suites", models.JSONField(default=list, help_text="The suites that were run, in their order.")),
                ("passed", models.BooleanField(help_text="Whether every required test passed.")),
                (
                    "results",
                    models.JSONField(default=list, help_text="One object a test: name, suite, outcome, message."),
                ),
                ("output", models.TextField(blank=True, help_text="The end of what the code printed.")),
                ("actor", models.CharField(max_length=150)),
                ("started_at", models.DateTimeField(db_index=True)),
                ("duration_ms", models.FloatField()),
            ],
            options={
                "db_table": "module_test_runs",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["module", "-id"], name="module_test_runs_latest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("duration_ms__gte", 0)), name="module_test_runs_duration"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("module", ""), _negated=True), name="module_test_runs_module"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ModuleVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.CharField(help_text="VERSION in its code.", max_length=64)),
                ("label", models.CharField(help_text="The version and the first digits of the digest.", max_length=80)),
                ("path", models.CharField(max_length=200)),
                ("dependencies", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("UNLOADED", "unloaded"),
                            ("LOADING", "loading"),
                            ("LOADED", "loaded"),
                            ("ACTIVE", "active"),
                            ("FAILED", "failed"),
                        ],
                        default="UNLOADED",
                        max_length=16,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                ("registered_by", models.CharField(max_length=150)),
                ("loaded_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "code",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="modules.modulecode",
                    ),
                ),
                (
                    "module",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="modules.module"
                    ),
                ),
            ],
            options={
                "db_table": "module_versions",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="moduleswap",
            name="from_version",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="modules.moduleversion"
            ),
        ),
        migrations.AddField(
            model_name="moduleswap",
            name="to_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="swaps", to="modules.moduleversion"
            ),
        ),
        migrations.CreateModel(
            name="ModuleJob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("load", "Load"), ("activate", "Activate"), ("test", "Test"), ("swap", "Swap")],
                        max_length=8,
                    ),
                ),
                ("suites", models.JSONField(blank=True, default=list, help_text="Empty: those that gate the slot.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("QUEUED", "queued"),
                            ("RUNNING", "running"),
                            ("SUCCEEDED", "succeeded"),
                            ("FAILED", "failed"),
                        ],
                        default="QUEUED",
                        max_length=16,
                    ),
                ),
                ("detail", models.TextField(blank=True, help_text="What it waits for, or why it failed.")),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True)),
                (
                    "owner",
                    models.CharField(blank=True, help_text="The process that does it: host and id.", max_length=200),
                ),
                (
                    "sent_at",
                    models.DateTimeField(auto_now_add=True, help_text="When its message was last given to the broker."),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "module",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="jobs", to="modules.module"
                    ),
                ),
                (
                    "swap",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="modules.moduleswap",
                    ),
                ),
                (
                    "test",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="modules.moduletestrun",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="jobs", to="modules.moduleversion"
                    ),
                ),
            ],
            options={
                "db_table": "module_jobs",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="module",
            name="active",
            field=models.ForeignKey(
                blank=True,
                help_text="In use.",
                null=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="+",
                to="modules.moduleversion",
            ),
        ),
        migrations.AddField(
            model_name="module",
            name="previous",
            field=models.ForeignKey(
                blank=True,
                help_text="What a rollback goes back to.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="modules.moduleversion",
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleversion",
            constraint=models.UniqueConstraint(fields=("module", "label"), name="module_versions_label"),
        ),
        migrations.AddConstraint(
            model_name="moduleversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "ACTIVE")), fields=("module",), name="module_versions_one_active"
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["UNLOADED", "LOADING", "LOADED", "ACTIVE", "FAILED"])),
                name="module_versions_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "FAILED"), _negated=True),
                    models.Q(("error", ""), _negated=True),
                    _connector="OR",
                ),
                name="module_versions_failed_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleswap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["CHECKING", "TESTING", "PREPARING"])),
                fields=("module",),
                name="module_swaps_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleswap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["CHECKING", "TESTING", "PREPARING", "SWITCHED", "COMPLETED", "FAILED", "ROLLED_BACK"],
                    )
                ),
                name="module_swaps_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="moduleswap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["FAILED", "ROLLED_BACK"]), _negated=True),
                    models.Q(("error", ""), _negated=True),
                    _connector="OR",
                ),
                name="module_swaps_failed_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="modulejob",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "swap"), ("state__in", ["QUEUED", "RUNNING"])),
                fields=("module",),
                name="module_jobs_one_open_swap",
            ),
        ),
        migrations.AddConstraint(
            model_name="modulejob",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["QUEUED", "RUNNING", "SUCCEEDED", "FAILED"])),
                name="module_jobs_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="modulejob",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "FAILED"), _negated=True),
                    models.Q(("detail", ""), _negated=True),
                    _connector="OR",
                ),
                name="module_jobs_failed_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="module",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["UNLOADED", "LOADING", "LOADED", "ACTIVE", "FAILED"])),
                name="modules_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="module",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "FAILED"), _negated=True),
                    models.Q(("error", ""), _negated=True),
                    _connector="OR",
                ),
                name="modules_failed_with_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="module",
            constraint=models.CheckConstraint(
                condition=models.Q(("watch_failures__gte", 1)), name="modules_watch_failures"
            ),
        ),
    ]
