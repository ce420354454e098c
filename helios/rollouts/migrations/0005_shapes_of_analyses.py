"""What workers keep of a rollout from now on is an object: whoever shows one asks it for its parts."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations

from helios.db.json_values import shape_check


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0004_moves_only_for_workers")]
    operations = [
        AddConstraintNotValid("rolloutanalysis", shape_check("object", "rollout_analyses", "numbers")),
        AddConstraintNotValid("rolloutevent", shape_check("object", "rollout_history", "after")),
    ]
