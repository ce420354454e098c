import django.contrib.postgres.fields
import django.core.serializers.json
import django.db.models.deletion
import helios.rollouts.core.machine
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Rollout",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(help_text="Free again once the rollout has ended.", max_length=100)),
                ("description", models.TextField(blank=True, default="")),
                ("kind", models.CharField(choices=[("module", "module"), ("strategy", "strategy")], max_length=8)),
                (
                    "target",
                    models.CharField(help_text="The slot of a module, or the book of a strategy.", max_length=100),
                ),
                ("champion", models.CharField(help_text="What serves so far.", max_length=300)),
                (
                    "challenger",
                    models.CharField(help_text="Label of the version, or name of the strategy.", max_length=200),
                ),
                (
                    "params",
                    models.JSONField(blank=True, default=dict, help_text="Parameters of a challenging strategy."),
                ),
                (
                    "books",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        help_text="Empty: all books.",
                        size=None,
                    ),
                ),
                ("steps", models.JSONField(help_text="The plan; see helios.rollouts.core.rollout_plan.")),
                ("guards", models.JSONField(help_text="Limits of an analysis; see helios.rollouts.core.guards.")),
                ("inconclusive_limit", models.PositiveSmallIntegerField(default=3)),
                ("error_limit", models.PositiveSmallIntegerField(default=3)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PENDING", "PENDING"),
                            ("RUNNING", "RUNNING"),
                            ("PAUSED", "PAUSED"),
                            ("PROMOTING", "PROMOTING"),
                            ("SUCCEEDED", "SUCCEEDED"),
                            ("ROLLED_BACK", "ROLLED_BACK"),
                            ("ABORTED", "ABORTED"),
                        ],
                        default="PENDING",
                        max_length=12,
                    ),
                ),
                ("step", models.PositiveSmallIntegerField(default=0)),
                ("n_inconclusive", models.PositiveSmallIntegerField(default=0)),
                ("n_errors", models.PositiveSmallIntegerField(default=0)),
                (
                    "cause",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", ""),
                            ("person", "person"),
                            ("soft guard", "soft guard"),
                            ("inconclusive", "inconclusive"),
                            ("error", "error"),
                            ("champion changed", "champion changed"),
                            ("promotion failed", "promotion failed"),
                        ],
                        default="",
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField(blank=True, default="", help_text="Why it is paused, or ended as it did.")),
                ("version", models.BigIntegerField(default=0, help_text="Grows with every move of this rollout.")),
                ("actor", models.CharField(help_text="Who made it.", max_length=150)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                (
                    "measured_since",
                    models.DateTimeField(
                        blank=True, help_text="Decisions before this moment do not count for the step.", null=True
                    ),
                ),
                ("next_analysis_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "rollouts",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    helios.rollouts.core.machine.State["PAUSED"],
                                    helios.rollouts.core.machine.State["PENDING"],
                                    helios.rollouts.core.machine.State["PROMOTING"],
                                    helios.rollouts.core.machine.State["RUNNING"],
                                ],
                            )
                        ),
                        fields=["state", "next_analysis_at"],
                        name="rollouts_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    helios.rollouts.core.machine.State["PAUSED"],
                                    helios.rollouts.core.machine.State["PENDING"],
                                    helios.rollouts.core.machine.State["PROMOTING"],
                                    helios.rollouts.core.machine.State["RUNNING"],
                                ],
                            )
                        ),
                        fields=("name",),
                        name="rollouts_live_name",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    helios.rollouts.core.machine.State["PAUSED"],
                                    helios.rollouts.core.machine.State["PENDING"],
                                    helios.rollouts.core.machine.State["PROMOTING"],
                                    helios.rollouts.core.machine.State["RUNNING"],
                                ],
                            )
                        ),
                        fields=("kind", "target"),
                        name="rollouts_one_a_target",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[A-Za-z0-9][A-Za-z0-9_.~-]*$")),
                        name="rollouts_name",
                        violation_error_message="a rollout's name must be letters, digits or _ . ~ -",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["module", "strategy"])), name="rollouts_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                ["PENDING", "RUNNING", "PAUSED", "PROMOTING", "SUCCEEDED", "ROLLED_BACK", "ABORTED"],
                            )
                        ),
                        name="rollouts_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "PAUSED"), _negated=True),
                            models.Q(models.Q(("cause", ""), _negated=True), models.Q(("reason", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="rollouts_paused_with_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "RUNNING"), _negated=True),
                            models.Q(("measured_since__isnull", False), ("next_analysis_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="rollouts_running_has_times",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("ended_at__isnull", True),
                                (
                                    "state__in",
                                    [
                                        helios.rollouts.core.machine.State["PAUSED"],
                                        helios.rollouts.core.machine.State["PENDING"],
                                        helios.rollouts.core.machine.State["PROMOTING"],
                                        helios.rollouts.core.machine.State["RUNNING"],
                                    ],
                                ),
                            ),
                            models.Q(
                                models.Q(
                                    (
                                        "state__in",
                                        [
                                            helios.rollouts.core.machine.State["PAUSED"],
                                            helios.rollouts.core.machine.State["PENDING"],
                                            helios.rollouts.core.machine.State["PROMOTING"],
                                            helios.rollouts.core.machine.State["RUNNING"],
                                        ],
                                    ),
                                    _negated=True,
                                ),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="rollouts_ended_when_over",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("error_limit__gte", 1), ("inconclusive_limit__gte", 1)),
                        name="rollouts_limits",
                    ),
                    models.CheckConstraint(condition=models.Q(("actor", ""), _negated=True), name="rollouts_actor"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RolloutAnalysis",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("step", models.PositiveSmallIntegerField()),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("Success", "Success"),
                            ("Failed", "Failed"),
                            ("Inconclusive", "Inconclusive"),
                            ("Error", "Error"),
                        ],
                        max_length=12,
                    ),
                ),
                ("hard", models.BooleanField(default=False, help_text="A hard guard failed.")),
                ("reason", models.TextField(blank=True)),
                (
                    "numbers",
                    models.JSONField(
                        default=dict, help_text="Each guard's value, limit and outcome; each arm's numbers."
                    ),
                ),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="analyses", to="rollouts.rollout"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "rollout analyses",
                "db_table": "rollout_analyses",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["rollout", "-id"], name="rollout_analyses_of_rollout")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("verdict__in", ["Success", "Failed", "Inconclusive", "Error"])),
                        name="rollout_analyses_verdict",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("hard", False), ("verdict", "Failed"), _connector="OR"),
                        name="rollout_analyses_hard_is_failed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RolloutDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.PositiveSmallIntegerField()),
                (
                    "arm",
                    models.CharField(choices=[("champion", "champion"), ("challenger", "challenger")], max_length=10),
                ),
                ("shadow", models.BooleanField(help_text="Nothing followed from it.")),
                ("cycle_id", models.BigIntegerField()),
                ("bar_ts", models.DateTimeField()),
                ("symbol", models.CharField(max_length=64)),
                ("value", models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ("latency_ms", models.FloatField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                ("recorded_at", models.DateTimeField()),
                (
                    "rollout",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="rollouts.rollout",
                    ),
                ),
            ],
            options={
                "db_table": "rollout_decisions",
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["rollout", "step", "arm", "recorded_at"], name="rollout_decisions_of_arm")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rollout", "cycle_id", "symbol", "arm"), name="rollout_decisions_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("arm__in", ["champion", "challenger"])), name="rollout_decisions_arm"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RolloutEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=24)),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True, default="")),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField()),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="history", to="rollouts.rollout"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "rollout history",
                "db_table": "rollout_history",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["rollout", "-id"], name="rollout_history_of_rollout")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="rollout_history_actor"
                    )
                ],
            },
        ),
    ]
