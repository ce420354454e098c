from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = ["feature_flag_history", "flag_segment_history"]


class Migration(migrations.Migration):
    dependencies = [("flags", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
