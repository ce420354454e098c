"""Partitions are made by the owner of their table, whoever asks: workers own none."""

from django.db import migrations

from helios.db.partitions import MAKER, NO_MAKER


class Migration(migrations.Migration):
    dependencies = [("control", "0001_tables")]
    operations = [migrations.RunSQL(MAKER, NO_MAKER)]
