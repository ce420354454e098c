import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from decimal import Decimal
from django.db import migrations, models

from helios.db.partitions import CreatePartitionedModel


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        CreatePartitionedModel(
            name="EngineeredFeatures",
            partition_by="bar_ts",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "symbol",
                        "timeframe",
                        "feature_set",
                        "version",
                        "bar_ts",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("feature_set", models.CharField(max_length=32)),
                ("version", models.CharField(help_text="label of the module version", max_length=96)),
                ("values", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "engineered_features",
            },
        ),
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        max_length=64,
                        unique=True,
                        validators=[django.core.validators.RegexValidator("^[a-z0-9][a-z0-9_.-]*\\Z")],
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("replay", "Replay (history, paper fills)"),
                            ("paper", "Paper (live data, paper fills)"),
                            ("live", "Live (real money)"),
                        ],
                        max_length=8,
                    ),
                ),
                ("active", models.BooleanField(default=False, help_text="beat starts cycles for active books")),
                ("timeframe", models.CharField(max_length=4)),
                (
                    "symbols",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None),
                ),
                (
                    "feed",
                    models.CharField(
                        default="table", help_text="where ingest reads bars: table, sample or file:PATH", max_length=255
                    ),
                ),
                ("initial_cash", models.DecimalField(decimal_places=8, max_digits=28)),
                ("cash", models.DecimalField(decimal_places=8, max_digits=28)),
                ("peak_equity", models.DecimalField(decimal_places=8, max_digits=28)),
                (
                    "state",
                    models.CharField(
                        choices=[("ACTIVE", "Active"), ("REDUCING", "Reducing"), ("HALTED", "Halted")],
                        default="ACTIVE",
                        max_length=8,
                    ),
                ),
                (
                    "held_by_person",
                    models.BooleanField(
                        default=False,
                        help_text="a person set this state: the risk tier may worsen it and never ends it",
                    ),
                ),
                ("fee_bps", models.DecimalField(decimal_places=4, max_digits=8)),
                ("slippage_bps", models.DecimalField(decimal_places=4, max_digits=8)),
                ("params", models.JSONField(blank=True, default=dict)),
                (
                    "flag_overrides",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="flags this book sees differently; replays trade on paper whatever auto_trading says",
                    ),
                ),
                (
                    "model_name",
                    models.CharField(blank=True, help_text="pinned model; empty follows the champion", max_length=128),
                ),
                (
                    "strategy",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="strategy that chooses the target weights, with its parameters; empty: tier 6 does",
                    ),
                ),
                ("replay_from", models.DateTimeField(blank=True, null=True)),
                ("replay_until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "portfolio_state",
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["replay", "paper", "live"])), name="portfolio_state_mode"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["ACTIVE", "REDUCING", "HALTED"])),
                        name="portfolio_state_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("initial_cash__gt", 0)), name="portfolio_state_initial_cash_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("feed__regex", "^(table|sample|file:.+)$")), name="portfolio_state_feed"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("symbols__len__gt", 0)), name="portfolio_state_has_symbols"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("fee_bps__gte", 0), ("slippage_bps__gte", 0)),
                        name="portfolio_state_costs_not_negative",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Instrument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32, unique=True)),
                (
                    "venue",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            "symbol", models.Value("^[^:]*$|:.*"), models.Value(""), function="regexp_replace"
                        ),
                        help_text="where it is traded; empty where nobody said",
                        output_field=models.CharField(max_length=32),
                    ),
                ),
                ("asset_class", models.CharField(choices=[("equity", "Equity"), ("crypto", "Crypto")], max_length=16)),
                ("quantity_step", models.DecimalField(decimal_places=8, max_digits=28)),
                ("price_tick", models.DecimalField(decimal_places=8, max_digits=28)),
                ("min_notional", models.DecimalField(decimal_places=8, default=0, max_digits=28)),
                ("calendar", models.CharField(default="24/7", max_length=16)),
                (
                    "bars_token",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        help_text="another one after every write but that of the next bars",
                    ),
                ),
            ],
            options={
                "db_table": "instruments",
                "ordering": ["symbol"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="instruments_symbol",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("quantity_step__gt", 0)), name="instruments_quantity_step_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price_tick__gt", 0)), name="instruments_price_tick_positive"
                    ),
                ],
            },
        ),
        CreatePartitionedModel(
            name="MarketOHLC",
            partition_by="bar_ts",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "symbol", "timeframe", "bar_ts", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("open", models.FloatField()),
                ("high", models.FloatField()),
                ("low", models.FloatField()),
                ("close", models.FloatField()),
                ("volume", models.FloatField()),
                ("source", models.CharField(max_length=255)),
                ("revision", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "ingested_at",
                    models.DateTimeField(auto_now_add=True, db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "market_ohlc",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="market_ohlc_symbol",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("low__gt", 0),
                            ("low__lte", models.F("open")),
                            ("low__lte", models.F("close")),
                            ("low__lte", models.F("high")),
                            ("high__gte", models.F("open")),
                            ("high__gte", models.F("close")),
                        ),
                        name="market_ohlc_price_order",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("volume__gte", 0)), name="market_ohlc_volume_not_negative"
                    ),
                ],
            },
        ),
        CreatePartitionedModel(
            name="MarketTrade",
            partition_by="ts",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "symbol", "ts", "trade_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("symbol", models.CharField(max_length=32)),
                ("ts", models.DateTimeField()),
                ("trade_id", models.CharField(max_length=64)),
                ("side", models.CharField(max_length=4)),
                ("price", models.DecimalField(decimal_places=8, max_digits=28)),
                ("quantity", models.DecimalField(decimal_places=8, max_digits=28)),
            ],
            options={
                "db_table": "market_trades",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="market_trades_symbol",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 0), ("quantity__gt", 0)), name="market_trades_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["BUY", "SELL"])), name="market_trades_side"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MLModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=128, unique=True)),
                ("preset", models.CharField(max_length=16)),
                (
                    "role",
                    models.CharField(
                        choices=[("champion", "Champion"), ("challenger", "Challenger"), ("archived", "Archived")],
                        default="archived",
                        max_length=12,
                    ),
                ),
                ("feature_set", models.CharField(max_length=32)),
                ("feature_version", models.CharField(help_text="of the set that it was trained on", max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                (
                    "symbols",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None),
                ),
                ("horizon_bars", models.PositiveIntegerField()),
                ("seed", models.BigIntegerField()),
                ("path", models.TextField(help_text="its folder, relative to var/")),
                ("weights_sha256", models.CharField(max_length=64)),
                (
                    "artifact_sha256",
                    models.CharField(default="", help_text="over its whole card, weights included", max_length=64),
                ),
                ("card", models.JSONField(default=dict)),
                ("metrics", models.JSONField(default=dict)),
                ("trained_from", models.DateTimeField()),
                ("trained_to", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name": "ML model",
                "db_table": "ml_models",
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("role", "champion")),
                        fields=("timeframe", "feature_set", "feature_version"),
                        name="ml_models_one_champion",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("role", "challenger")),
                        fields=("timeframe", "feature_set", "feature_version"),
                        name="ml_models_one_challenger",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["champion", "challenger", "archived"])), name="ml_models_role"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("horizon_bars__gt", 0)), name="ml_models_horizon_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weights_sha256__regex", "^[0-9a-f]{64}$")), name="ml_models_sha256"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("artifact_sha256__regex", "^([0-9a-f]{64})?$")),
                        name="ml_models_artifact_sha256",
                    ),
                ],
            },
        ),
        CreatePartitionedModel(
            name="OrderBookSnapshot",
            partition_by="ts",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "symbol", "ts", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("symbol", models.CharField(max_length=32)),
                ("ts", models.DateTimeField()),
                ("sequence", models.BigIntegerField(default=0)),
                ("bids", models.JSONField()),
                ("asks", models.JSONField()),
            ],
            options={
                "db_table": "orderbook_snapshots",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "symbol__regex",
                                "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$",
                            )
                        ),
                        name="orderbook_snapshots_symbol",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PipelineCycle",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("shard", models.PositiveSmallIntegerField(default=0)),
                ("mode", models.CharField(max_length=8)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("RUNNING", "Running"),
                            ("DONE", "Done"),
                            ("FAILED", "Failed"),
                            ("SKIPPED", "Skipped"),
                        ],
                        default="RUNNING",
                        max_length=8,
                    ),
                ),
                (
                    "stage",
                    models.CharField(
                        choices=[
                            ("ingest", "Ingest"),
                            ("features", "Features"),
                            ("predict", "Predict"),
                            ("risk", "Risk"),
                            ("llm", "Llm"),
                            ("portfolio", "Portfolio"),
                            ("execute", "Execute"),
                            ("done", "Done"),
                        ],
                        default="ingest",
                        max_length=12,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("switches", models.JSONField(default=dict, help_text="flags as read at the start")),
                ("modules", models.JSONField(default=dict, help_text="module versions pinned")),
                (
                    "rollouts",
                    models.JSONField(
                        blank=True, default=list, help_text="challengers pinned: who decides which symbol"
                    ),
                ),
                ("ledger_hash", models.CharField(blank=True, max_length=64)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("progressed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "redriven",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="times the chain was sent again for the stage that is due"
                    ),
                ),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="cycles", to="trading.book"
                    ),
                ),
            ],
            options={
                "db_table": "pipeline_cycles",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("client_order_id", models.CharField(max_length=48, unique=True)),
                ("venue_order_id", models.CharField(blank=True, max_length=64)),
                ("symbol", models.CharField(max_length=32)),
                ("side", models.CharField(max_length=4)),
                ("quantity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("filled_quantity", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=28)),
                ("reference_price", models.DecimalField(decimal_places=8, max_digits=28)),
                ("bar_ts", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("NEW", "New"),
                            ("WITHHELD", "Withheld (never sent, see its reason)"),
                            ("SENDING", "Sending"),
                            ("UNKNOWN", "Unknown (venue has to be asked)"),
                            ("ACCEPTED", "Accepted"),
                            ("FILLED", "Filled"),
                            ("CANCELLED", "Cancelled"),
                            ("REJECTED", "Rejected"),
                        ],
                        default="NEW",
                        max_length=12,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("sending_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="trading.book"
                    ),
                ),
                (
                    "cycle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="trading.pipelinecycle"
                    ),
                ),
                (
                    "superseded_by",
                    models.ForeignKey(
                        blank=True,
                        help_text="the later decision that counts on this order not being there; its sender asks for the cancel",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="superseded",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "db_table": "orders",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="MLPrediction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("p_sell", models.FloatField(null=True)),
                ("p_hold", models.FloatField(null=True)),
                ("p_buy", models.FloatField(null=True)),
                ("signal", models.CharField(max_length=4)),
                ("horizon_bars", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "model",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="predictions",
                        to="trading.mlmodel",
                    ),
                ),
                (
                    "cycle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="predictions",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "verbose_name": "ML prediction",
                "db_table": "ml_predictions",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="MarketContextSnapshot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bar_ts", models.DateTimeField()),
                ("regime", models.CharField(max_length=16)),
                ("data", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "cycle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="context", to="trading.pipelinecycle"
                    ),
                ),
            ],
            options={
                "db_table": "market_context_snapshots",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sequence", models.PositiveIntegerField()),
                ("kind", models.CharField(max_length=32)),
                ("payload", models.JSONField()),
                ("previous_hash", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
                ("ts", models.DateTimeField(auto_now_add=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="ledger", to="trading.book"
                    ),
                ),
                (
                    "cycle",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="ledger",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "ledger entries",
                "db_table": "decision_ledger",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="PortfolioSnapshot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bar_ts", models.DateTimeField()),
                ("equity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("cash", models.DecimalField(decimal_places=8, max_digits=28)),
                ("peak_equity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("gross_exposure", models.FloatField()),
                ("drawdown", models.FloatField()),
                ("weights", models.JSONField(default=dict)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="snapshots", to="trading.book"
                    ),
                ),
                (
                    "cycle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="snapshot", to="trading.pipelinecycle"
                    ),
                ),
            ],
            options={
                "db_table": "portfolio_snapshots",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Position",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                ("quantity", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=28)),
                ("average_price", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=28)),
                ("realised_pnl", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=28)),
                ("fees_paid", models.DecimalField(decimal_places=8, default=Decimal("0"), max_digits=28)),
                ("last_price", models.DecimalField(blank=True, decimal_places=8, max_digits=28, null=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="positions", to="trading.book"
                    ),
                ),
            ],
            options={
                "db_table": "positions",
                "ordering": ["book", "symbol"],
            },
        ),
        migrations.CreateModel(
            name="RebalancingEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bar_ts", models.DateTimeField()),
                (
                    "symbols",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None),
                ),
                ("previous", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("target", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("turnover", models.FloatField()),
                ("method", models.CharField(max_length=32)),
                ("reason", models.CharField(max_length=64)),
                ("denials", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="rebalancings", to="trading.book"
                    ),
                ),
                (
                    "cycle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rebalancing",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "db_table": "rebalancing_events",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="RiskDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "symbols",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None),
                ),
                (
                    "expected_return",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None),
                ),
                ("size", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("max_weight", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("leverage", models.FloatField()),
                ("state", models.CharField(max_length=8)),
                ("denials", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "cycle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="risk_decision",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "db_table": "aether_risk_decisions",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="StageRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "stage",
                    models.CharField(
                        choices=[
                            ("ingest", "Ingest"),
                            ("features", "Features"),
                            ("predict", "Predict"),
                            ("risk", "Risk"),
                            ("llm", "Llm"),
                            ("portfolio", "Portfolio"),
                            ("execute", "Execute"),
                            ("done", "Done"),
                        ],
                        max_length=12,
                    ),
                ),
                ("worker", models.CharField(max_length=128)),
                ("module_version", models.CharField(blank=True, max_length=96)),
                ("queue_ms", models.FloatField(help_text="from the end of the tier before to the start of this one")),
                ("duration_ms", models.FloatField()),
                ("fallback", models.CharField(blank=True, max_length=64)),
                ("reason", models.TextField(blank=True)),
                ("finished_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "cycle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stage_runs",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "db_table": "pipeline_stage_runs",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="StrategicDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=32)),
                ("stance", models.CharField(max_length=8)),
                ("conviction", models.FloatField()),
                ("risk_multiplier", models.FloatField()),
                ("applied", models.BooleanField(help_text="whether the view was allowed to change the decision")),
                ("reasoning", models.TextField(blank=True)),
                ("usage", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "cycle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="strategic_decision",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "verbose_name": "strategic decision",
                "db_table": "llm_strategic_decisions",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="TradeExecution",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("venue_fill_id", models.CharField(max_length=96, unique=True)),
                ("symbol", models.CharField(max_length=32)),
                ("side", models.CharField(max_length=4)),
                ("quantity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("price", models.DecimalField(decimal_places=8, max_digits=28)),
                ("notional", models.DecimalField(decimal_places=8, max_digits=28)),
                ("fee", models.DecimalField(decimal_places=8, max_digits=28)),
                ("slippage_bps", models.DecimalField(decimal_places=4, default=Decimal("0"), max_digits=8)),
                ("bar_ts", models.DateTimeField(help_text="close of the bar in which the fill happened")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="executions", to="trading.book"
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="executions", to="trading.order"
                    ),
                ),
            ],
            options={
                "db_table": "trade_executions",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="TradingModeChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("before", models.CharField(max_length=32)),
                ("after", models.CharField(max_length=32)),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True)),
                ("ts", models.DateTimeField(auto_now_add=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="mode_changes", to="trading.book"
                    ),
                ),
            ],
            options={
                "db_table": "trading_mode_history",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="VolatilityForecast",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=32)),
                ("timeframe", models.CharField(max_length=4)),
                ("bar_ts", models.DateTimeField()),
                ("sigma", models.FloatField(null=True)),
                (
                    "method",
                    models.CharField(blank=True, help_text="how it was found, such as garch or ewma", max_length=32),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "cycle",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="volatilities",
                        to="trading.pipelinecycle",
                    ),
                ),
            ],
            options={
                "db_table": "volatility_forecasts",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("venue", models.CharField(max_length=32)),
                ("currency", models.CharField(max_length=16)),
                ("total", models.DecimalField(decimal_places=8, max_digits=28)),
                ("available", models.DecimalField(decimal_places=8, max_digits=28)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="balances", to="trading.book"
                    ),
                ),
            ],
            options={
                "db_table": "balances",
                "ordering": ["book", "currency"],
                "constraints": [models.UniqueConstraint(fields=("book", "venue", "currency"), name="balances_once")],
            },
        ),
        migrations.CreateModel(
            name="PaperOrder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("client_order_id", models.CharField(max_length=48, unique=True)),
                ("symbol", models.CharField(max_length=32)),
                ("side", models.CharField(max_length=4)),
                ("quantity", models.DecimalField(decimal_places=8, max_digits=28)),
                ("bar_ts", models.DateTimeField(help_text="close of the bar of the decision; it fills in a later bar")),
                (
                    "status",
                    models.CharField(
                        choices=[("OPEN", "Open"), ("FILLED", "Filled"), ("CANCELLED", "Cancelled")],
                        default="OPEN",
                        max_length=12,
                    ),
                ),
                ("accepted_at", models.DateTimeField(auto_now_add=True)),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="paper_orders", to="trading.book"
                    ),
                ),
            ],
            options={
                "db_table": "paper_orders",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(condition=models.Q(("status", "OPEN")), fields=["book"], name="paper_orders_open")
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("side__in", ["BUY", "SELL"])), name="paper_orders_side"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["OPEN", "FILLED", "CANCELLED"])), name="paper_orders_status"
                    ),
                    models.CheckConstraint(condition=models.Q(("quantity__gt", 0)), name="paper_orders_quantity"),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="pipelinecycle",
            index=models.Index(
                condition=models.Q(("status", "RUNNING")),
                fields=["status", "progressed_at"],
                name="pipeline_cycles_open",
            ),
        ),
        migrations.AddIndex(
            model_name="pipelinecycle",
            index=models.Index(fields=["book", "-bar_ts"], name="pipeline_cycles_book_bar"),
        ),
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.UniqueConstraint(
                fields=("book", "timeframe", "bar_ts", "shard", "mode"), name="pipeline_cycles_one_per_bar"
            ),
        ),
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "RUNNING")), fields=("book", "shard"), name="pipeline_cycles_one_running"
            ),
        ),
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stage__in", ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute", "done"])
                ),
                name="pipeline_cycles_stage",
            ),
        ),
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["RUNNING", "DONE", "FAILED", "SKIPPED"])),
                name="pipeline_cycles_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="pipelinecycle",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("status", "RUNNING")),
                    models.Q(models.Q(("status", "RUNNING"), _negated=True), ("finished_at__isnull", False)),
                    _connector="OR",
                ),
                name="pipeline_cycles_finished_when_over",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status__in", ["NEW", "SENDING", "UNKNOWN", "ACCEPTED"])),
                fields=["status"],
                name="orders_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(condition=models.Q(("side__in", ["BUY", "SELL"])), name="orders_side"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        ["NEW", "WITHHELD", "SENDING", "UNKNOWN", "ACCEPTED", "FILLED", "CANCELLED", "REJECTED"],
                    )
                ),
                name="orders_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("cycle", "symbol", "side"), name="orders_one_per_decision"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("superseded_by__isnull", True), models.Q(("status", "NEW"), _negated=True), _connector="OR"
                ),
                name="orders_superseded_never_sent",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("quantity__gt", 0), ("filled_quantity__gte", 0), ("filled_quantity__lte", models.F("quantity"))
                ),
                name="orders_quantities",
            ),
        ),
        migrations.AddIndex(
            model_name="mlprediction",
            index=models.Index(fields=["symbol", "timeframe", "bar_ts"], name="ml_predictions_bar"),
        ),
        migrations.AddConstraint(
            model_name="mlprediction",
            constraint=models.UniqueConstraint(fields=("cycle", "symbol"), name="ml_predictions_once"),
        ),
        migrations.AddConstraint(
            model_name="mlprediction",
            constraint=models.CheckConstraint(
                condition=models.Q(("signal__in", ["SELL", "HOLD", "BUY"])), name="ml_predictions_signal"
            ),
        ),
        migrations.AddConstraint(
            model_name="mlprediction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("p_sell__gte", 0), ("p_sell__lte", 1)), ("p_sell__isnull", True), _connector="OR"
                ),
                name="ml_predictions_p_sell",
            ),
        ),
        migrations.AddConstraint(
            model_name="mlprediction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("p_hold__gte", 0), ("p_hold__lte", 1)), ("p_hold__isnull", True), _connector="OR"
                ),
                name="ml_predictions_p_hold",
            ),
        ),
        migrations.AddConstraint(
            model_name="mlprediction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("p_buy__gte", 0), ("p_buy__lte", 1)), ("p_buy__isnull", True), _connector="OR"
                ),
                name="ml_predictions_p_buy",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(fields=("book", "sequence"), name="decision_ledger_sequence"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(fields=("book", "previous_hash"), name="decision_ledger_no_fork"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute", "settle", "end"],
                    )
                ),
                name="decision_ledger_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="portfoliosnapshot",
            constraint=models.UniqueConstraint(fields=("book", "bar_ts"), name="portfolio_snapshots_once"),
        ),
        migrations.AddConstraint(
            model_name="portfoliosnapshot",
            constraint=models.CheckConstraint(
                condition=models.Q(("drawdown__gte", 0), ("drawdown__lte", 1)), name="portfolio_snapshots_drawdown"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.UniqueConstraint(fields=("book", "symbol"), name="positions_one_per_symbol"),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(("average_price__gte", 0)), name="positions_average_price"
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("symbol__regex", "^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$")
                ),
                name="positions_symbol",
            ),
        ),
        migrations.AddConstraint(
            model_name="rebalancingevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("turnover__gte", 0)), name="rebalancing_events_turnover"
            ),
        ),
        migrations.AddConstraint(
            model_name="riskdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(("leverage__gte", 0)), name="aether_risk_decisions_leverage"
            ),
        ),
        migrations.AddConstraint(
            model_name="riskdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["ACTIVE", "REDUCING", "HALTED"])), name="aether_risk_decisions_state"
            ),
        ),
        migrations.AddConstraint(
            model_name="stagerun",
            constraint=models.UniqueConstraint(fields=("cycle", "stage"), name="pipeline_stage_runs_once"),
        ),
        migrations.AddConstraint(
            model_name="stagerun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stage__in", ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute"])
                ),
                name="pipeline_stage_runs_stage",
            ),
        ),
        migrations.AddConstraint(
            model_name="stagerun",
            constraint=models.CheckConstraint(
                condition=models.Q(("duration_ms__gte", 0)), name="pipeline_stage_runs_duration"
            ),
        ),
        migrations.AddConstraint(
            model_name="strategicdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(("stance__in", ["RISK_ON", "NEUTRAL", "RISK_OFF"])),
                name="llm_strategic_decisions_stance",
            ),
        ),
        migrations.AddConstraint(
            model_name="strategicdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("conviction__gte", 0), ("conviction__lte", 1)),
                    ("conviction__isnull", True),
                    _connector="OR",
                ),
                name="llm_strategic_decisions_conviction",
            ),
        ),
        migrations.AddConstraint(
            model_name="strategicdecision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("risk_multiplier__gte", 0), ("risk_multiplier__lte", 1.5)),
                    ("risk_multiplier__isnull", True),
                    _connector="OR",
                ),
                name="llm_strategic_decisions_multiplier",
            ),
        ),
        migrations.AddIndex(
            model_name="tradeexecution",
            index=models.Index(fields=["book", "symbol"], name="trade_executions_book_symbol"),
        ),
        migrations.AddConstraint(
            model_name="tradeexecution",
            constraint=models.CheckConstraint(
                condition=models.Q(("side__in", ["BUY", "SELL"])), name="trade_executions_side"
            ),
        ),
        migrations.AddConstraint(
            model_name="tradeexecution",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gt", 0), ("price__gt", 0), ("notional__gt", 0)),
                name="trade_executions_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="volatilityforecast",
            constraint=models.UniqueConstraint(fields=("cycle", "symbol"), name="volatility_forecasts_once"),
        ),
        migrations.AddConstraint(
            model_name="volatilityforecast",
            constraint=models.CheckConstraint(
                condition=models.Q(("sigma__gt", 0), ("sigma__isnull", True), _connector="OR"),
                name="volatility_forecasts_positive",
            ),
        ),
    ]
