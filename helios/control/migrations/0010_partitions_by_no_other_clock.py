"""A partition holds what its name says, whatever zone and style of dates a worker has set."""

from django.db import migrations

from helios.db.partitions import MAKER


class Migration(migrations.Migration):
    dependencies = [("control", "0009_partitions_are_attached")]
    operations = [migrations.RunSQL(MAKER, migrations.RunSQL.noop)]
