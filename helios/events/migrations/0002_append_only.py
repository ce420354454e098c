from django.db import migrations

from helios.db.triggers import append_only_sql


class Migration(migrations.Migration):
    dependencies = [("events", "0001_schema")]
    operations = [migrations.RunSQL(*append_only_sql("system_events"))]
