from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = (
    "trade_executions",
    "trading_mode_history",
    "decision_ledger",
    "pipeline_stage_runs",
    "ml_predictions",
    "volatility_forecasts",
    "aether_risk_decisions",
    "market_context_snapshots",
    "llm_strategic_decisions",
    "rebalancing_events",
    "portfolio_snapshots",
)


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
