"""What a share became is compared over splits and dividends, by the accuracy of models as by the measures of rollouts."""

import importlib

from django.db import migrations

BEFORE = importlib.import_module("trading.migrations.0003_views").ML_ACCURACY

# What one share of the close at `since` is worth at `until`: its splits at that close, and the dividends that it got.
FUNCTION = """
CREATE FUNCTION worth_of_share(symbol text, since timestamptz, until timestamptz, close double precision)
RETURNS double precision LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT close * coalesce(exp(sum(ln(a.value / a.per)) FILTER (WHERE a.kind = 'split')), 1)::double precision
        + coalesce(sum(a.value) FILTER (WHERE a.kind = 'dividend'), 0)::double precision
    FROM corporate_actions a WHERE a.symbol = worth_of_share.symbol AND a.ex_ts >= since AND a.ex_ts < until
$$;
"""
AFTER = BEFORE.replace("CREATE VIEW", "CREATE OR REPLACE VIEW").replace(
    "SELECT o.close FROM", "SELECT worth_of_share(o.symbol, p.bar_ts, o.bar_ts, o.close) AS close FROM"
)
_BACK = BEFORE.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")


class Migration(migrations.Migration):
    dependencies = [("trading", "0022_gaps")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION worth_of_share(text, timestamptz, timestamptz, double precision);"),
        migrations.RunSQL(AFTER, _BACK),
    ]
