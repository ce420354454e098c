"""The limit on one order is in the currency of the book, whichever that is: `max_notional_usd` was its name."""

from django.db import migrations

_RENAME = """
UPDATE portfolio_state
SET params = jsonb_set(params #- '{{execute,{old}}}', '{{execute,{new}}}', params #> '{{execute,{old}}}')
WHERE params #> '{{execute,{old}}}' IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0009_moves_of_workers")]
    operations = [
        migrations.RunSQL(
            _RENAME.format(old="max_notional_usd", new="max_notional"),
            _RENAME.format(old="max_notional", new="max_notional_usd"),
        )
    ]
