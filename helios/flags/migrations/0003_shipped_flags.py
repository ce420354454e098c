"""The flags that Helios ships with, at their defaults; reversing takes exactly these away and keeps their history."""

import uuid

from django.db import migrations

ACTOR = "migration"
# name, enabled, strategy, percentage, what on and off do
SHIPPED = [
    (
        "auto_trading",
        False,
        "all_on",
        0,
        "On: orders that a cycle decides are sent. Off: orders are decided and recorded, none is sent.",
    ),
    (
        "circuit_breakers",
        True,
        "all_on",
        0,
        "On: a failing service is cut off until it has recovered. Off: breakers only measure, except on the order path, where they always act.",
    ),
    (
        "hot_reload_modules",
        True,
        "all_on",
        0,
        "On: a changed module is tested and swapped in by itself. Off: a changed module waits for an explicit swap.",
    ),
    (
        "websocket_streaming",
        True,
        "all_on",
        0,
        "On: market data arrives by stream. Off: market data is polled over REST.",
    ),
    (
        "websocket_v2",
        False,
        "percentage",
        25,
        "On: the second-generation stream client serves its percentage of the symbols. Off: the first-generation stream client serves every symbol.",
    ),
    (
        "multi_timeframe_analysis",
        True,
        "all_on",
        0,
        "On: features of higher timeframes join those of the base timeframe. Off: only features of the base timeframe are used, the rest is neutral.",
    ),
    (
        "neural_network_v2",
        False,
        "percentage",
        0,
        "On: the challenger model serves its percentage of the symbols. Off: the champion model serves every symbol.",
    ),
    (
        "garch_volatility",
        True,
        "all_on",
        0,
        "On: volatility comes from GARCH(1,1). Off: volatility comes from an exponentially weighted average.",
    ),
    (
        "kelly_position_sizing",
        True,
        "all_on",
        0,
        "On: positions are sized by fractional Kelly. Off: positions are a fixed fraction of equity.",
    ),
    (
        "advanced_risk_engine",
        False,
        "whitelist",
        0,
        "On: portfolio CVaR and correlation limits hold for the listed symbols. Off: only the basic limits hold.",
    ),
    (
        "llm_strategic_analysis",
        True,
        "all_on",
        0,
        "On: tier 4 asks the analyst for a view of the market. Off: tier 4 passes its input through.",
    ),
    (
        "llm_enhanced_decisions",
        True,
        "all_on",
        0,
        "On: the analyst's view may change a decision. Off: the analyst's view is recorded and changes nothing.",
    ),
    (
        "black_litterman",
        False,
        "all_on",
        0,
        "On: predictions enter the portfolio as Black-Litterman views. Off: the portfolio is mean-variance with shrinkage.",
    ),
    (
        "portfolio_optimizer_v2",
        False,
        "all_on",
        0,
        "On: the portfolio comes from hierarchical risk parity or CVaR. Off: the portfolio is mean-variance with shrinkage.",
    ),
    (
        "paper_trading_v2",
        False,
        "gradual",
        10,
        "On: paper orders of a growing share of the symbols fill against the order book. Off: paper orders fill against bars.",
    ),
]


def state(flag):
    return {
        "name": flag.name,
        "enabled": flag.enabled,
        "strategy": flag.strategy,
        "percentage": flag.percentage,
        "whitelist": flag.whitelist,
        "blacklist": flag.blacklist,
        "gradual_start": flag.gradual_start and flag.gradual_start.isoformat(),
        "gradual_end": flag.gradual_end and flag.gradual_end.isoformat(),
        "stickiness": flag.stickiness,
        "description": flag.description,
        "owner": flag.owner,
        "expires_at": flag.expires_at and flag.expires_at.isoformat(),
        "resume_strategy": flag.resume_strategy,
    }


def next_generation(apps):
    """Raises the generation and gives it a new token, so that running processes read again."""
    model = apps.get_model("control", "SubjectGeneration")
    before = model.objects.filter(pk="flags").values_list("value", flat=True).first() or 0
    row, _ = model.objects.update_or_create(pk="flags", defaults={"value": before + 1, "token": uuid.uuid4()})
    return row.value


def install(apps, schema_editor):
    flags, history = apps.get_model("flags", "FeatureFlag"), apps.get_model("flags", "FeatureFlagHistory")
    generation = next_generation(apps)
    for name, enabled, strategy, percentage, description in SHIPPED:
        flag, made = flags.objects.get_or_create(
            name=name,
            defaults={
                "enabled": enabled,
                "strategy": strategy,
                "percentage": percentage,
                "description": description,
                "generation": generation,
            },
        )
        if made:
            history.objects.create(
                flag_id=name,
                action="create",
                actor=ACTOR,
                reason="shipped with Helios",
                after=state(flag),
                generation=generation,
            )


def remove(apps, schema_editor):
    flags, history = apps.get_model("flags", "FeatureFlag"), apps.get_model("flags", "FeatureFlagHistory")
    generation = next_generation(apps)
    for flag in flags.objects.filter(name__in=[row[0] for row in SHIPPED]):
        history.objects.create(
            flag_id=flag.name,
            action="remove",
            actor=ACTOR,
            reason="migration reversed",
            before=state(flag),
            generation=generation,
        )
        flag.delete()


class Migration(migrations.Migration):
    dependencies = [("flags", "0002_append_only"), ("control", "0001_tables")]
    operations = [migrations.RunPython(install, remove)]
