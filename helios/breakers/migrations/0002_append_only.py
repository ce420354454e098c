from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = ["circuit_breaker_events"]


class Migration(migrations.Migration):
    dependencies = [("breakers", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
