"""Workers put no version in charge but the one before: that is all that their tasks do."""

from django.db import migrations

_REFUSE = """
CREATE FUNCTION modules_only_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.active_id IS DISTINCT FROM OLD.active_id AND NEW.active_id IS DISTINCT FROM OLD.previous_id
    OR NEW.previous_id IS NOT NULL AND NEW.previous_id IS DISTINCT FROM OLD.previous_id THEN
        RAISE EXCEPTION 'a worker may go back to the version before, and to no other' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER modules_only_back BEFORE UPDATE ON modules
    FOR EACH ROW WHEN (current_user = 'helios_worker') EXECUTE FUNCTION modules_only_back();
"""
_ALLOW = "DROP TRIGGER modules_only_back ON modules; DROP FUNCTION modules_only_back();"


class Migration(migrations.Migration):
    dependencies = [("modules", "0004_walls_of_test_runs")]
    operations = [migrations.RunSQL(_REFUSE, _ALLOW)]
