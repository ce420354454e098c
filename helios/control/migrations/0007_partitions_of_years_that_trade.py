"""Partitions are of 1900 to next year, made by who may write there: a reader without a time locks all of a table."""

from django.db import migrations

from helios.db.partitions import MAKER


class Migration(migrations.Migration):
    dependencies = [("control", "0006_partitions_hold_what_they_say")]
    operations = [migrations.RunSQL(MAKER, migrations.RunSQL.noop)]
