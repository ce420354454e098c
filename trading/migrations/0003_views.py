from django.db import migrations

ACTIVE_POSITIONS = """
CREATE VIEW v_active_positions AS
SELECT p.id, b.name AS book, b.mode, p.symbol, p.quantity, p.average_price, p.last_price,
       round(p.quantity * p.last_price, 8) AS market_value,
       round(p.quantity * (p.last_price - p.average_price), 8) AS unrealised_pnl,
       p.realised_pnl, p.fees_paid, p.updated_at
FROM positions p JOIN portfolio_state b ON b.id = p.book_id
WHERE p.quantity <> 0
"""

PORTFOLIO_PERFORMANCE = """
CREATE VIEW v_portfolio_performance AS
SELECT b.id AS book_id, b.name AS book, b.mode, b.initial_cash, s.bar_ts AS as_of, s.equity, s.cash,
       s.equity / b.initial_cash - 1 AS total_return,
       a.max_drawdown, a.n_snapshots, coalesce(f.fees_paid, 0) AS fees_paid, coalesce(f.n_fills, 0) AS n_fills
FROM portfolio_state b
JOIN LATERAL (SELECT * FROM portfolio_snapshots x WHERE x.book_id = b.id ORDER BY x.bar_ts DESC LIMIT 1) s ON true
JOIN LATERAL (SELECT max(drawdown) AS max_drawdown, count(*) AS n_snapshots
              FROM portfolio_snapshots x WHERE x.book_id = b.id) a ON true
LEFT JOIN LATERAL (SELECT sum(fee) AS fees_paid, count(*) AS n_fills
                   FROM trade_executions e WHERE e.book_id = b.id) f ON true
"""

# A prediction counts once the bar `horizon_bars` later has closed; HOLD makes no directional claim.
ML_ACCURACY = """
CREATE VIEW v_ml_accuracy AS
SELECT coalesce(m.name, '') AS model, p.symbol, p.timeframe,
       count(*) AS n_scored,
       count(*) FILTER (WHERE p.signal <> 'HOLD') AS n_directional,
       avg((CASE WHEN p.signal = 'BUY' THEN later.close > now.close ELSE later.close < now.close END)::int)
           FILTER (WHERE p.signal <> 'HOLD') AS hit_rate,
       avg(later.close / now.close - 1) FILTER (WHERE p.signal = 'BUY') AS mean_return_after_buy,
       avg(later.close / now.close - 1) FILTER (WHERE p.signal = 'SELL') AS mean_return_after_sell
FROM ml_predictions p
LEFT JOIN ml_models m ON m.id = p.model_id
JOIN market_ohlc now ON now.symbol = p.symbol AND now.timeframe = p.timeframe AND now.bar_ts = p.bar_ts
JOIN LATERAL (
    SELECT o.close FROM market_ohlc o
    WHERE o.symbol = p.symbol AND o.timeframe = p.timeframe AND o.bar_ts > p.bar_ts
    ORDER BY o.bar_ts OFFSET p.horizon_bars - 1 LIMIT 1
) later ON true
WHERE p.p_buy IS NOT NULL
GROUP BY 1, 2, 3
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0002_append_only")]
    operations = [
        migrations.RunSQL(ACTIVE_POSITIONS, "DROP VIEW v_active_positions"),
        migrations.RunSQL(PORTFOLIO_PERFORMANCE, "DROP VIEW v_portfolio_performance"),
        migrations.RunSQL(ML_ACCURACY, "DROP VIEW v_ml_accuracy"),
    ]
