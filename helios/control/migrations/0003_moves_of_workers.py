"""Workers count their own changes of modules and rollouts: what they count back, or of flags, would hide a change."""

from django.db import migrations

_REFUSE = """
CREATE FUNCTION control_generations_only_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.subject <> OLD.subject OR OLD.subject NOT IN ('modules', 'rollouts') OR NEW.value <= OLD.value THEN
        RAISE EXCEPTION 'a worker may count a change of modules or rollouts: % of % refused', NEW.value, OLD.subject
            USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER control_generations_only_on BEFORE UPDATE ON control_generations
    FOR EACH ROW WHEN (current_user = 'helios_worker') EXECUTE FUNCTION control_generations_only_on();
"""
_ALLOW = """
DROP TRIGGER control_generations_only_on ON control_generations;
DROP FUNCTION control_generations_only_on();
"""


class Migration(migrations.Migration):
    dependencies = [("control", "0002_partitions_of_the_owner")]
    operations = [migrations.RunSQL(_REFUSE, _ALLOW)]
