"""What a person has stopped no worker starts: theirs end a book that is done, and end a REDUCING that no person set."""

from django.db import migrations

_REFUSE = """
CREATE FUNCTION portfolio_state_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.held_by_person <> OLD.held_by_person OR NEW.active AND NOT OLD.active
    OR NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('ACTIVE', 'REDUCING'), ('ACTIVE', 'HALTED'), ('REDUCING', 'HALTED')
    ) AND (OLD.held_by_person OR (OLD.state, NEW.state) <> ('REDUCING', 'ACTIVE')) THEN
        RAISE EXCEPTION 'a worker may make book % more careful: % to % refused', OLD.name, OLD.state, NEW.state
            USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER portfolio_state_held BEFORE UPDATE ON portfolio_state
    FOR EACH ROW WHEN (current_user = 'helios_worker') EXECUTE FUNCTION portfolio_state_held();
"""
_ALLOW = "DROP TRIGGER portfolio_state_held ON portfolio_state; DROP FUNCTION portfolio_state_held();"


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_positions_carry_cost")]
    operations = [migrations.RunSQL(_REFUSE, _ALLOW)]
