from django.db import migrations

from helios.db.triggers import append_only_sql

FORWARD, REVERSE = append_only_sql("circuit_breaker_events")


class Migration(migrations.Migration):
    dependencies = [("breakers", "0001_tables")]
    operations = [migrations.RunSQL(FORWARD, REVERSE)]
