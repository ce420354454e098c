import uuid
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SubjectGeneration",
            fields=[
                ("subject", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("value", models.BigIntegerField(default=0)),
                ("token", models.UUIDField(default=uuid.uuid4)),
            ],
            options={
                "db_table": "control_generations",
                "ordering": ["subject"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("subject", ""), _negated=True), name="control_generations_subject"
                    ),
                    models.CheckConstraint(condition=models.Q(("value__gte", 0)), name="control_generations_value"),
                ],
            },
        ),
    ]
