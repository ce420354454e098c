from django.db import migrations

from helios.db.triggers import append_only_sql

TABLES = ["rollout_analyses", "rollout_history", "rollout_decisions"]


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0001_tables")]
    operations = [migrations.RunSQL(*append_only_sql(table)) for table in TABLES]
