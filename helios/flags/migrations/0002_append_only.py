from django.db import migrations

from helios.db.triggers import append_only_sql

FORWARD, REVERSE = append_only_sql("feature_flag_history")


class Migration(migrations.Migration):
    dependencies = [("flags", "0001_schema")]
    operations = [migrations.RunSQL(FORWARD, REVERSE)]
