import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="FeatureFlag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                ("enabled", models.BooleanField(default=False)),
                (
                    "strategy",
                    models.CharField(
                        choices=[
                            ("all_on", "all on"),
                            ("all_off", "all off"),
                            ("percentage", "percentage"),
                            ("gradual", "gradual"),
                            ("whitelist", "whitelist"),
                            ("blacklist", "blacklist"),
                            ("rules", "rules"),
                            ("kill_switch", "kill switch"),
                        ],
                        default="all_on",
                        max_length=16,
                    ),
                ),
                (
                    "resume_strategy",
                    models.CharField(
                        blank=True, default="", help_text="the strategy that a killed flag returns to", max_length=16
                    ),
                ),
                (
                    "percentage",
                    models.SmallIntegerField(
                        default=0, help_text="0 to 100: the share served, or the share at which a gradual ramp ends"
                    ),
                ),
                (
                    "whitelist",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128), blank=True, default=list, size=None
                    ),
                ),
                (
                    "blacklist",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128), blank=True, default=list, size=None
                    ),
                ),
                (
                    "gradual_from",
                    models.SmallIntegerField(
                        default=0,
                        help_text="0 to 100: the share at which a gradual ramp begins; it ends at `percentage`",
                    ),
                ),
                ("gradual_start", models.DateTimeField(blank=True, null=True)),
                ("gradual_end", models.DateTimeField(blank=True, null=True)),
                (
                    "schedule",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="steps of the percentage: [{at, percentage}], the times ascending",
                    ),
                ),
                (
                    "stickiness",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="what a percentage holds on; empty: the first of symbol, user, strategy, system",
                        max_length=64,
                    ),
                ),
                (
                    "group_id",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="flags of one group serve the same share; empty: its own name",
                        max_length=100,
                    ),
                ),
                (
                    "constraints",
                    models.JSONField(
                        blank=True, default=list, help_text="all of them must hold before the strategy is asked"
                    ),
                ),
                (
                    "segments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        help_text="names of segments, whose constraints must hold as well",
                        size=None,
                    ),
                ),
                (
                    "environments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        default=list,
                        help_text="on only in these; empty: in all",
                        size=None,
                    ),
                ),
                (
                    "prerequisites",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="flags that must be on, or off, first: [{feature, enabled, variants}]",
                    ),
                ),
                (
                    "rules",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Unleash activation strategies, of which one must hold, for strategy rules",
                    ),
                ),
                (
                    "variants",
                    models.JSONField(
                        blank=True, default=list, help_text="[{name, weight, payload, stickiness, overrides}]"
                    ),
                ),
                ("description", models.TextField(blank=True, default="")),
                ("owner", models.CharField(blank=True, default="", max_length=128)),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="when the flag should be gone; evaluation does not change by it",
                        null=True,
                    ),
                ),
                ("generation", models.BigIntegerField(default=0, help_text="the generation of the last change")),
                (
                    "version",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="grows by one with every change: tells the second of two editors that there was a first",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "feature_flags",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[A-Za-z0-9][A-Za-z0-9_.~-]*$")),
                        name="feature_flags_name",
                        violation_error_message="a flag's name must be letters, digits or _ . ~ -",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "strategy__in",
                                [
                                    "all_on",
                                    "all_off",
                                    "percentage",
                                    "gradual",
                                    "whitelist",
                                    "blacklist",
                                    "rules",
                                    "kill_switch",
                                ],
                            )
                        ),
                        name="feature_flags_strategy",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("percentage__gte", 0), ("percentage__lte", 100)),
                        name="feature_flags_percentage",
                        violation_error_message="percentage must be a whole number from 0 to 100",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("gradual_end__isnull", True), ("gradual_start__isnull", True)),
                            models.Q(
                                ("gradual_end__gt", models.F("gradual_start")),
                                ("gradual_end__isnull", False),
                                ("gradual_start__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="feature_flags_gradual_times",
                        violation_error_message="a gradual ramp must have both a start and an end, the end after the start",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("enabled", False),
                                ("strategy", "kill_switch"),
                                models.Q(("resume_strategy", ""), _negated=True),
                            ),
                            models.Q(models.Q(("strategy", "kill_switch"), _negated=True), ("resume_strategy", "")),
                            _connector="OR",
                        ),
                        name="feature_flags_killed_is_disabled",
                        violation_error_message="a killed flag must be disabled and name the strategy it returns to",
                    ),
                    models.CheckConstraint(condition=models.Q(("generation__gte", 0)), name="feature_flags_generation"),
                    models.CheckConstraint(
                        condition=models.Q(("gradual_from__gte", 0), ("gradual_from__lte", 100)),
                        name="feature_flags_gradual_from",
                        violation_error_message="gradual_from must be a whole number from 0 to 100",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(models.F("schedule"), function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="feature_flags_schedule_is_list",
                        violation_error_message="schedule must be a list",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(
                                models.F("constraints"), function="jsonb_typeof", output_field=models.TextField()
                            ),
                            models.Value("array"),
                        ),
                        name="feature_flags_constraints_is_list",
                        violation_error_message="constraints must be a list",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(
                                models.F("prerequisites"), function="jsonb_typeof", output_field=models.TextField()
                            ),
                            models.Value("array"),
                        ),
                        name="feature_flags_prerequisites_is_list",
                        violation_error_message="prerequisites must be a list",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(models.F("rules"), function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="feature_flags_rules_is_list",
                        violation_error_message="rules must be a list",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(models.F("variants"), function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="feature_flags_variants_is_list",
                        violation_error_message="variants must be a list",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FlagSegment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
                ("description", models.TextField(blank=True, default="")),
                ("constraints", models.JSONField(blank=True, default=list, help_text="all of them must hold")),
                ("generation", models.BigIntegerField(default=0, help_text="the generation of the last change")),
                ("version", models.PositiveBigIntegerField(default=0, help_text="grows by one with every change")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "flag_segments",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[A-Za-z0-9][A-Za-z0-9_.~-]*$")),
                        name="flag_segments_name",
                        violation_error_message="a segment's name must be letters, digits or _ . ~ -",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(
                                models.F("constraints"), function="jsonb_typeof", output_field=models.TextField()
                            ),
                            models.Value("array"),
                        ),
                        name="flag_segments_constraints_is_list",
                        violation_error_message="constraints must be a list",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FeatureFlagHistory",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.DateTimeField(auto_now_add=True)),
                ("action", models.CharField(max_length=32)),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True, default="")),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("generation", models.BigIntegerField()),
                (
                    "flag",
                    models.ForeignKey(
                        db_column="flag_name",
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="history",
                        to="flags.featureflag",
                        to_field="name",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "feature flag history",
                "db_table": "feature_flag_history",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["flag", "-id"], name="feature_flag_history_of_flag")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="feature_flag_history_actor"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FlagSegmentHistory",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ts", models.DateTimeField(auto_now_add=True)),
                ("action", models.CharField(max_length=32)),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True, default="")),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("generation", models.BigIntegerField()),
                (
                    "segment",
                    models.ForeignKey(
                        db_column="segment_name",
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="history",
                        to="flags.flagsegment",
                        to_field="name",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "flag segment history",
                "db_table": "flag_segment_history",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["segment", "-id"], name="flag_segment_history_of_seg")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="flag_segment_history_actor"
                    )
                ],
            },
        ),
    ]
