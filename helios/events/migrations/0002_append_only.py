from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = ["system_events"]


class Migration(migrations.Migration):
    dependencies = [("events", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
