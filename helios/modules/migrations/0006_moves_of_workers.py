"""Of versions and swaps workers write what watching a switch and rolling it back writes, and no other move."""

from django.db import migrations

_REFUSE = """
CREATE FUNCTION module_versions_only_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'ACTIVE' AND NEW.state IN ('LOADED', 'FAILED')
    OR OLD.state = 'LOADED' AND NEW.state = 'ACTIVE' AND EXISTS (SELECT FROM modules WHERE previous_id = NEW.id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a worker may go back to the version before: % to % refused', OLD.state, NEW.state
        USING ERRCODE = '42501';
END $$;
CREATE TRIGGER module_versions_only_back BEFORE UPDATE ON module_versions FOR EACH ROW
    WHEN (current_user = 'helios_worker' AND NEW.state IS DISTINCT FROM OLD.state)
    EXECUTE FUNCTION module_versions_only_back();

CREATE FUNCTION module_swaps_only_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.kind = 'rollback' AND NEW.state = 'COMPLETED' AND EXISTS (
        SELECT FROM modules
        WHERE id = NEW.module_id AND active_id = NEW.from_version_id AND previous_id = NEW.to_version_id
    ) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.state = OLD.state OR OLD.state IN ('SWITCHED', 'COMPLETED')
        AND NEW.state IN ('COMPLETED', 'FAILED', 'ROLLED_BACK')) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a worker may end a switch and roll it back: % to % refused', NEW.kind, NEW.state
        USING ERRCODE = '42501';
END $$;
CREATE TRIGGER module_swaps_only_back BEFORE INSERT OR UPDATE ON module_swaps FOR EACH ROW
    WHEN (current_user = 'helios_worker') EXECUTE FUNCTION module_swaps_only_back();
"""
_ALLOW = """
DROP TRIGGER module_versions_only_back ON module_versions;
DROP FUNCTION module_versions_only_back();
DROP TRIGGER module_swaps_only_back ON module_swaps;
DROP FUNCTION module_swaps_only_back();
"""


class Migration(migrations.Migration):
    dependencies = [("modules", "0005_only_back_for_workers")]
    operations = [migrations.RunSQL(_REFUSE, _ALLOW)]
