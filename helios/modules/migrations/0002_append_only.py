from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = ["module_test_runs"]


class Migration(migrations.Migration):
    dependencies = [("modules", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
