"""A timeframe may have a champion and a challenger for each universe that models were trained on."""

from django.db import migrations, models
from django.db.models import Q

_SORTED = """
UPDATE ml_models SET symbols = ARRAY(SELECT symbol FROM unnest(symbols) AS symbol ORDER BY symbol COLLATE "C")
"""
_OF_A_TIMEFRAME = ["timeframe", "feature_set", "feature_version"]


def _constraint(role, fields):
    return models.UniqueConstraint(fields=fields, condition=Q(role=role), name=f"ml_models_one_{role}")


class Migration(migrations.Migration):
    dependencies = [("trading", "0004_bars_tokens")]
    operations = [
        migrations.RunSQL(_SORTED, migrations.RunSQL.noop),
        *(
            operation
            for role in ("champion", "challenger")
            for operation in (
                migrations.RemoveConstraint("mlmodel", f"ml_models_one_{role}"),
                migrations.AddConstraint("mlmodel", _constraint(role, [*_OF_A_TIMEFRAME, "symbols"])),
            )
        ),
    ]
