"""What workers keep of a rollout is an object: whoever shows one asks it for its parts."""

from django.db import migrations

from helios.db.json_values import holds


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0004_moves_only_for_workers")]
    operations = [
        migrations.AddConstraint("rolloutanalysis", holds("object", "rollout_analyses", "numbers")),
        migrations.AddConstraint("rolloutevent", holds("object", "rollout_history", "after")),
    ]
