"""An instrument's `bars_token` is another one after every write but that of the next bars, whoever writes."""

from django.db import migrations

_FUNCTIONS = """
CREATE FUNCTION renew_bars_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE instruments SET bars_token = gen_random_uuid() WHERE symbol IN (SELECT symbol FROM changed);
    RETURN NULL;
END $$;
CREATE FUNCTION renew_bars_tokens_of_late_bars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE instruments SET bars_token = gen_random_uuid() WHERE symbol IN (
        SELECT came.symbol
        FROM (
            SELECT symbol, timeframe, min(bar_ts) AS first, max(bar_ts) AS last, count(*) AS n_bars
            FROM changed GROUP BY symbol, timeframe
        ) came
        WHERE EXISTS (
            SELECT FROM market_ohlc b
            WHERE b.symbol = came.symbol AND b.timeframe = came.timeframe AND b.bar_ts > came.last
        ) OR n_bars <> (
            SELECT count(*) FROM market_ohlc b
            WHERE b.symbol = came.symbol AND b.timeframe = came.timeframe AND b.bar_ts BETWEEN came.first AND came.last
        )
    );
    RETURN NULL;
END $$;
"""
_TRIGGERS = """
CREATE TRIGGER market_ohlc_inserted AFTER INSERT ON market_ohlc REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION renew_bars_tokens_of_late_bars();
CREATE TRIGGER market_ohlc_corrected AFTER UPDATE ON market_ohlc REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION renew_bars_tokens();
CREATE TRIGGER market_ohlc_deleted AFTER DELETE ON market_ohlc REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION renew_bars_tokens();
"""
_NO_TRIGGERS = """
DROP TRIGGER market_ohlc_inserted ON market_ohlc;
DROP TRIGGER market_ohlc_corrected ON market_ohlc;
DROP TRIGGER market_ohlc_deleted ON market_ohlc;
"""
_NO_FUNCTIONS = """
DROP FUNCTION renew_bars_tokens();
DROP FUNCTION renew_bars_tokens_of_late_bars();
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0003_views")]
    operations = [
        migrations.RunSQL(_FUNCTIONS, _NO_FUNCTIONS),
        migrations.RunSQL(_TRIGGERS, _NO_TRIGGERS),
    ]
