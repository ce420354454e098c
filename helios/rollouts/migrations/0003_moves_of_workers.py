"""Workers pause a rollout or roll it back: who goes forward has another role."""

from django.db import migrations

_REFUSE = """
CREATE FUNCTION rollouts_never_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.step, NEW.n_inconclusive, NEW.n_errors, NEW.started_at, NEW.measured_since)
        IS DISTINCT FROM (OLD.step, OLD.n_inconclusive, OLD.n_errors, OLD.started_at, OLD.measured_since)
    OR NEW.state <> OLD.state AND NOT (
        OLD.state IN ('RUNNING', 'PAUSED', 'PROMOTING') AND NEW.state IN ('PAUSED', 'ROLLED_BACK')
    ) THEN
        RAISE EXCEPTION 'a worker may pause a rollout or roll it back: % to % refused', OLD.state, NEW.state
            USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rollouts_never_forward BEFORE UPDATE ON rollouts
    FOR EACH ROW WHEN (current_user = 'helios_worker') EXECUTE FUNCTION rollouts_never_forward();
"""
_ALLOW = "DROP TRIGGER rollouts_never_forward ON rollouts; DROP FUNCTION rollouts_never_forward();"


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0002_append_only")]
    operations = [migrations.RunSQL(_REFUSE, _ALLOW)]
