"""A module becomes a slot: versions with their code, swaps and their history, the processes that carry them out."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("modules", "0003_module_test_runs"),
    ]

    operations = [
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
                "db_table": "module_processes",
                "ordering": ["started_at"],
                "verbose_name_plural": "module processes",
            },
        ),
        migrations.AddField(
            model_name="module",
            name="reload_digest",
            field=models.CharField(blank=True, help_text="The content that was refused or waits.", max_length=64),
        ),
        migrations.AddField(
            model_name="module",
            name="reload_error",
            field=models.TextField(blank=True, help_text="Why the changed files were not swapped in."),
        ),
        migrations.AddField(
            model_name="module",
            name="watch_calls",
            field=models.PositiveIntegerField(default=20, help_text="Real calls that are watched after a switch."),
        ),
        migrations.AddField(
            model_name="module",
            name="watch_failures",
            field=models.PositiveIntegerField(default=1, help_text="Failed watched calls that roll back."),
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
            model_name="module",
            constraint=models.CheckConstraint(
                condition=models.Q(("watch_failures__gte", 1)), name="modules_watch_failures"
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
    ]
