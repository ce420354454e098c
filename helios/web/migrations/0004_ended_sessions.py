from django.db import migrations

# Runs as its owner: who may read no session removes those that have ended, and nothing else.
MAKE = """
CREATE FUNCTION forget_ended_sessions() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (DELETE FROM django_session WHERE expire_date < now() RETURNING 1) SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION forget_ended_sessions FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("web", "0003_tokens_that_hold"), ("sessions", "0001_initial")]
    operations = [migrations.RunSQL(MAKE, "DROP FUNCTION forget_ended_sessions")]
