"""Whether bars came late is asked of the index, also in a session that planned the question over an empty table."""

from django.db import migrations

_BY_INDEX = "ALTER FUNCTION renew_bars_tokens_of_late_bars() SET enable_seqscan = off"
_AS_PLANNED = "ALTER FUNCTION renew_bars_tokens_of_late_bars() RESET enable_seqscan"


class Migration(migrations.Migration):
    dependencies = [("trading", "0026_trades_without_a_side")]
    operations = [migrations.RunSQL(_BY_INDEX, _AS_PLANNED)]
