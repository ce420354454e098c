from django.db import migrations

# Runs as its owner: who may read no account and no token is told whose hold until when, and nothing else.
MAKE = """
CREATE FUNCTION api_tokens_that_hold() RETURNS TABLE (username varchar, name varchar, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT u.username, t.name, t.expires_at FROM api_tokens t JOIN auth_user u ON u.id = t.user_id
    WHERE t.revoked_at IS NULL AND t.expires_at > now() AND u.is_active ORDER BY t.expires_at
$$;
REVOKE ALL ON FUNCTION api_tokens_that_hold FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("web", "0002_api_tokens")]
    operations = [migrations.RunSQL(MAKE, "DROP FUNCTION api_tokens_that_hold")]
