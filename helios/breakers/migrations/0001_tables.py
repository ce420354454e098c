import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CircuitBreaker",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=64, unique=True)),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("normal", "normal"),
                            ("metrics_only", "metrics only"),
                            ("forced_open", "forced open"),
                        ],
                        default="normal",
                        editable=False,
                        max_length=16,
                    ),
                ),
                (
                    "failure_threshold",
                    models.PositiveIntegerField(
                        default=5,
                        help_text="This many failures among the last calls open it. 0: no such limit.",
                        verbose_name="opens at failures",
                    ),
                ),
                (
                    "failure_rate",
                    models.FloatField(
                        default=0.0,
                        help_text="Opens at this share of failures, from 0 to 1. 0: no such limit.",
                        verbose_name="opens at failure rate",
                    ),
                ),
                (
                    "slow_call_s",
                    models.FloatField(
                        default=0.0,
                        help_text="A call that took longer is slow. 0: nobody looks at the time.",
                        verbose_name="slow from (seconds)",
                    ),
                ),
                (
                    "slow_call_rate",
                    models.FloatField(
                        default=0.0,
                        help_text="Opens at this share of slow calls, from 0 to 1. 0: no such limit.",
                        verbose_name="opens at slow rate",
                    ),
                ),
                (
                    "minimum_calls",
                    models.PositiveIntegerField(
                        default=5, help_text="Never opens with fewer calls in the window than this."
                    ),
                ),
                (
                    "window_calls",
                    models.PositiveIntegerField(
                        default=10,
                        help_text="How many of the last calls are looked at. 0: only the time bounds the window.",
                    ),
                ),
                (
                    "window_s",
                    models.FloatField(
                        default=0.0,
                        help_text="Older calls do not count. 0: calls never grow too old.",
                        verbose_name="window (seconds)",
                    ),
                ),
                (
                    "open_s",
                    models.FloatField(
                        default=60.0, help_text="How long calls are refused.", verbose_name="open for (seconds)"
                    ),
                ),
                (
                    "open_multiplier",
                    models.FloatField(
                        default=1.0,
                        help_text="What the interval is multiplied by at every opening that soon follows another. 1: always the same.",
                        verbose_name="longer each time by",
                    ),
                ),
                (
                    "open_max_s",
                    models.FloatField(
                        default=0.0,
                        help_text="Where the growth ends; needed where there is some.",
                        verbose_name="open at most (seconds)",
                    ),
                ),
                (
                    "open_jitter",
                    models.FloatField(
                        default=0.0,
                        help_text="Spreads the interval to both sides by up to this share, from 0 to 1.",
                        verbose_name="jitter",
                    ),
                ),
                (
                    "half_open_permits",
                    models.PositiveIntegerField(
                        default=1,
                        help_text="Probes that must succeed, and may be under way together, before it closes again.",
                    ),
                ),
                (
                    "permit_s",
                    models.FloatField(
                        default=60.0,
                        help_text="A probe that has not reported by then no longer counts, and another may go.",
                        verbose_name="probe expires after (seconds)",
                    ),
                ),
                (
                    "order_path",
                    models.BooleanField(
                        default=False,
                        help_text="Guards orders: it always acts, even when the flag circuit_breakers is off, and refuses calls while the shared state cannot be reached. Orders that only reduce a position always pass.",
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=1, editable=False, help_text="Grows with every change by a person."
                    ),
                ),
                (
                    "last_state",
                    models.CharField(
                        choices=[
                            ("CLOSED", "closed"),
                            ("OPEN", "open"),
                            ("HALF_OPEN", "half-open"),
                            ("FORCED_OPEN", "forced open"),
                            ("METRICS_ONLY", "metrics only"),
                        ],
                        default="CLOSED",
                        editable=False,
                        max_length=16,
                    ),
                ),
                ("last_state_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "circuit_breakers",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("half_open_permits__gte", 1), ("minimum_calls__gte", 1)),
                        name="circuit_breakers_counts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("failure_threshold__gte", 1), ("failure_rate__gt", 0), _connector="OR"),
                        name="circuit_breakers_limits",
                        violation_error_message="The number or the rate of failures that opens it must be set.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("window_calls", 0), ("window_s__gt", 0)),
                            models.Q(
                                ("window_calls__gte", models.F("failure_threshold")),
                                ("window_calls__gte", models.F("minimum_calls")),
                            ),
                            _connector="OR",
                        ),
                        name="circuit_breakers_window",
                        violation_error_message="The window must hold the failure threshold and the minimum calls.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("open_max_s__gte", 0),
                            ("open_s__gt", 0),
                            ("permit_s__gt", 0),
                            ("slow_call_s__gte", 0),
                            ("window_s__gte", 0),
                        ),
                        name="circuit_breakers_intervals",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("open_max_s", 0), ("open_multiplier", 1)),
                            models.Q(
                                ("open_max_s__gte", models.F("open_s")),
                                ("open_multiplier__gte", 1),
                                ("open_multiplier__lte", 10),
                            ),
                            _connector="OR",
                        ),
                        name="circuit_breakers_growth",
                        violation_error_message="An interval that grows needs an end, no shorter than the interval itself.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("failure_rate__gte", 0),
                            ("failure_rate__lte", 1),
                            ("open_jitter__gte", 0),
                            ("open_jitter__lte", 1),
                            ("slow_call_rate__gte", 0),
                            ("slow_call_rate__lte", 1),
                        ),
                        name="circuit_breakers_shares",
                        violation_error_message="Rates and jitter are shares from 0 to 1.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("slow_call_rate", 0), ("slow_call_s__gt", 0), _connector="OR"),
                        name="circuit_breakers_slow",
                        violation_error_message="A rate of slow calls needs the time from which a call is slow.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["normal", "metrics_only", "forced_open"])),
                        name="circuit_breakers_mode",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("order_path", False), models.Q(("mode", "metrics_only"), _negated=True), _connector="OR"
                        ),
                        name="circuit_breakers_order_path_acts",
                        violation_error_message="A breaker that guards orders always acts: it cannot only measure.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("last_state__in", ["CLOSED", "OPEN", "HALF_OPEN", "FORCED_OPEN", "METRICS_ONLY"])
                        ),
                        name="circuit_breakers_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CircuitBreakerEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.DateTimeField(db_index=True)),
                (
                    "before",
                    models.CharField(
                        choices=[
                            ("CLOSED", "closed"),
                            ("OPEN", "open"),
                            ("HALF_OPEN", "half-open"),
                            ("FORCED_OPEN", "forced open"),
                            ("METRICS_ONLY", "metrics only"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "after",
                    models.CharField(
                        choices=[
                            ("CLOSED", "closed"),
                            ("OPEN", "open"),
                            ("HALF_OPEN", "half-open"),
                            ("FORCED_OPEN", "forced open"),
                            ("METRICS_ONLY", "metrics only"),
                        ],
                        max_length=16,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("actor", models.CharField(default="system", max_length=150)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("transition", "transition"),
                            ("force_open", "forced open"),
                            ("close", "closed"),
                            ("reset", "reset"),
                            ("metrics_only", "set to measure only"),
                            ("normal", "set to act"),
                            ("create", "created"),
                            ("configure", "configured"),
                            ("delete", "deleted"),
                        ],
                        default="transition",
                        max_length=16,
                    ),
                ),
                (
                    "shared",
                    models.BooleanField(
                        default=True, help_text="False: one worker decided alone while Redis was away."
                    ),
                ),
                (
                    "enforced",
                    models.BooleanField(default=True, help_text="False: it only measured, and refused nothing."),
                ),
                (
                    "changes",
                    models.JSONField(blank=True, default=dict, help_text="Settings that changed: before and after."),
                ),
                (
                    "breaker",
                    models.ForeignKey(
                        db_column="name",
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="breakers.circuitbreaker",
                        to_field="name",
                    ),
                ),
            ],
            options={
                "db_table": "circuit_breaker_events",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["breaker", "-ts"], name="breaker_events_by_name")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("after__in", ["CLOSED", "OPEN", "HALF_OPEN", "FORCED_OPEN", "METRICS_ONLY"]),
                            ("before__in", ["CLOSED", "OPEN", "HALF_OPEN", "FORCED_OPEN", "METRICS_ONLY"]),
                        ),
                        name="circuit_breaker_events_states",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "action__in",
                                [
                                    "transition",
                                    "force_open",
                                    "close",
                                    "reset",
                                    "metrics_only",
                                    "normal",
                                    "create",
                                    "configure",
                                    "delete",
                                ],
                            ),
                            models.Q(("actor", ""), _negated=True),
                        ),
                        name="circuit_breaker_events_action",
                    ),
                ],
            },
        ),
    ]
