"""A partition holds the year or the month of its name: a wider one would keep others from being made."""

from django.db import migrations

from helios.db.partitions import MAKER


class Migration(migrations.Migration):
    dependencies = [("control", "0005_only_own_rows_for_workers")]
    operations = [migrations.RunSQL(MAKER, migrations.RunSQL.noop)]
