from django.db import migrations

from helios.db.triggers import append_only_sql

FORWARD, REVERSE = append_only_sql("flag_segment_history")


class Migration(migrations.Migration):
    dependencies = [("flags", "0004_segments_rules_variants")]
    operations = [migrations.RunSQL(FORWARD, REVERSE)]
