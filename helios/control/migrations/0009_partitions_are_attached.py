"""A partition is attached: made as one, it locks its table for whoever reads it."""

from django.db import migrations

from helios.db.partitions import MAKER


class Migration(migrations.Migration):
    dependencies = [("control", "0008_numbers_of_results")]
    operations = [migrations.RunSQL(MAKER, migrations.RunSQL.noop)]
