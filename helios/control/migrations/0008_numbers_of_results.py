"""Results of tasks are numbered by 63 bits, as all else that workers add: 31 are used up within an hour."""

from django.db import migrations

_TYPE = "ALTER TABLE django_celery_results_taskresult ALTER id TYPE {}"


class Migration(migrations.Migration):
    dependencies = [("control", "0007_partitions_of_years_that_trade")]
    operations = [migrations.RunSQL(_TYPE.format("bigint"), _TYPE.format("integer"))]
