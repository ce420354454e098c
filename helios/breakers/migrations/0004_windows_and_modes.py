"""Windows by time, rates, slow calls, growing intervals, modes and versions; who did what in the history."""

from django.db import migrations, models
from django.db.models import F, Q

MODES = [("normal", "normal"), ("metrics_only", "metrics only"), ("forced_open", "forced open")]
STATES = [
    ("CLOSED", "closed"),
    ("OPEN", "open"),
    ("HALF_OPEN", "half-open"),
    ("FORCED_OPEN", "forced open"),
    ("METRICS_ONLY", "metrics only"),
]
ACTIONS = [
    ("transition", "transition"),
    ("force_open", "forced open"),
    ("close", "closed"),
    ("reset", "reset"),
    ("metrics_only", "set to measure only"),
    ("normal", "set to act"),
    ("create", "created"),
    ("configure", "configured"),
    ("delete", "deleted"),
]


def breaker(name, field):
    return migrations.AddField(model_name="circuitbreaker", name=name, field=field)


def changed(name, field):
    return migrations.AlterField(model_name="circuitbreaker", name=name, field=field)


def event(name, field):
    return migrations.AddField(model_name="circuitbreakerevent", name=name, field=field)


def rule(name, condition, message=None, model="circuitbreaker"):
    told = {"violation_error_message": message} if message else {}
    constraint = models.CheckConstraint(condition=condition, name=name, **told)
    return migrations.AddConstraint(model_name=model, constraint=constraint)


def without(name, model="circuitbreaker"):
    return migrations.RemoveConstraint(model_name=model, name=name)


class Migration(migrations.Migration):
    dependencies = [("breakers", "0003_shipped_breakers")]
    operations = [
        breaker("mode", models.CharField(choices=MODES, default="normal", editable=False, max_length=16)),
        breaker(
            "failure_rate",
            models.FloatField(
                default=0.0,
                help_text="Opens at this share of failures, from 0 to 1. 0: no such limit.",
                verbose_name="opens at failure rate",
            ),
        ),
        breaker(
            "slow_call_s",
            models.FloatField(
                default=0.0,
                help_text="A call that took longer is slow. 0: nobody looks at the time.",
                verbose_name="slow from (seconds)",
            ),
        ),
        breaker(
            "slow_call_rate",
            models.FloatField(
                default=0.0,
                help_text="Opens at this share of slow calls, from 0 to 1. 0: no such limit.",
                verbose_name="opens at slow rate",
            ),
        ),
        breaker(
            "window_s",
            models.FloatField(
                default=0.0,
                help_text="Older calls do not count. 0: calls never grow too old.",
                verbose_name="window (seconds)",
            ),
        ),
        breaker(
            "open_multiplier",
            models.FloatField(
                default=1.0,
                help_text="What the interval is multiplied by at every opening that soon follows another. 1: always the same.",
                verbose_name="longer each time by",
            ),
        ),
        breaker(
            "open_max_s",
            models.FloatField(
                default=0.0,
                help_text="Where the growth ends; needed where there is some.",
                verbose_name="open at most (seconds)",
            ),
        ),
        breaker(
            "open_jitter",
            models.FloatField(
                default=0.0,
                help_text="Spreads the interval to both sides by up to this share, from 0 to 1.",
                verbose_name="jitter",
            ),
        ),
        breaker(
            "version",
            models.PositiveIntegerField(default=1, editable=False, help_text="Grows with every change by a person."),
        ),
        changed(
            "failure_threshold",
            models.PositiveIntegerField(
                default=5,
                help_text="This many failures among the last calls open it. 0: no such limit.",
                verbose_name="opens at failures",
            ),
        ),
        changed(
            "minimum_calls",
            models.PositiveIntegerField(default=5, help_text="Never opens with fewer calls in the window than this."),
        ),
        changed(
            "window_calls",
            models.PositiveIntegerField(
                default=10, help_text="How many of the last calls are looked at. 0: only the time bounds the window."
            ),
        ),
        changed(
            "order_path",
            models.BooleanField(
                default=False,
                help_text="Guards orders: it always acts, even when the flag circuit_breakers is off, and refuses calls while the shared state cannot be reached. Orders that only reduce a position always pass.",
            ),
        ),
        changed("last_state", models.CharField(choices=STATES, default="CLOSED", editable=False, max_length=16)),
        without("circuit_breakers_counts"),
        without("circuit_breakers_window"),
        without("circuit_breakers_intervals"),
        without("circuit_breakers_state"),
        rule("circuit_breakers_counts", Q(half_open_permits__gte=1, minimum_calls__gte=1)),
        rule(
            "circuit_breakers_limits",
            Q(failure_threshold__gte=1) | Q(failure_rate__gt=0),
            "The number or the rate of failures that opens it must be set.",
        ),
        rule(
            "circuit_breakers_window",
            Q(window_calls=0, window_s__gt=0)
            | Q(window_calls__gte=F("failure_threshold")) & Q(window_calls__gte=F("minimum_calls")),
            "The window must hold the failure threshold and the minimum calls.",
        ),
        rule(
            "circuit_breakers_intervals",
            Q(open_s__gt=0, permit_s__gt=0, window_s__gte=0, slow_call_s__gte=0, open_max_s__gte=0),
        ),
        rule(
            "circuit_breakers_growth",
            Q(open_max_s=0, open_multiplier=1)
            | Q(open_max_s__gte=F("open_s"), open_multiplier__gte=1, open_multiplier__lte=10),
            "An interval that grows needs an end, no shorter than the interval itself.",
        ),
        rule(
            "circuit_breakers_shares",
            Q(
                failure_rate__gte=0,
                failure_rate__lte=1,
                slow_call_rate__gte=0,
                slow_call_rate__lte=1,
                open_jitter__gte=0,
                open_jitter__lte=1,
            ),
            "Rates and jitter are shares from 0 to 1.",
        ),
        rule(
            "circuit_breakers_slow",
            Q(slow_call_rate=0) | Q(slow_call_s__gt=0),
            "A rate of slow calls needs the time from which a call is slow.",
        ),
        rule("circuit_breakers_mode", Q(mode__in=[mode for mode, _ in MODES])),
        rule(
            "circuit_breakers_order_path_acts",
            Q(order_path=False) | ~Q(mode="metrics_only"),
            "A breaker that guards orders always acts: it cannot only measure.",
        ),
        rule("circuit_breakers_state", Q(last_state__in=[state for state, _ in STATES])),
        event("action", models.CharField(choices=ACTIONS, default="transition", max_length=16)),
        event("enforced", models.BooleanField(default=True, help_text="False: it only measured, and refused nothing.")),
        event(
            "changes",
            models.JSONField(blank=True, default=dict, help_text="Settings that changed: before and after."),
        ),
        migrations.AlterField(
            model_name="circuitbreakerevent", name="before", field=models.CharField(choices=STATES, max_length=16)
        ),
        migrations.AlterField(
            model_name="circuitbreakerevent", name="after", field=models.CharField(choices=STATES, max_length=16)
        ),
        without("circuit_breaker_events_states", model="circuitbreakerevent"),
        rule(
            "circuit_breaker_events_states",
            Q(after__in=[state for state, _ in STATES], before__in=[state for state, _ in STATES]),
            model="circuitbreakerevent",
        ),
        rule(
            "circuit_breaker_events_action",
            Q(action__in=[action for action, _ in ACTIONS]) & ~Q(actor=""),
            model="circuitbreakerevent",
        ),
    ]
