"""What a person has stopped no worker starts: theirs end a book that is done, and end a REDUCING that no person set."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_positions_carry_cost")]
    operations = [
        for_workers(
            "portfolio_state_held",
            "portfolio_state",
            """NEW.held_by_person <> OLD.held_by_person OR NEW.active AND NOT OLD.active
    OR NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('ACTIVE', 'REDUCING'), ('ACTIVE', 'HALTED'), ('REDUCING', 'HALTED')
    ) AND (OLD.held_by_person OR (OLD.state, NEW.state) <> ('REDUCING', 'ACTIVE'))""",
            "'a worker may make book % more careful: % to % refused', OLD.name, OLD.state, NEW.state",
        )
    ]
