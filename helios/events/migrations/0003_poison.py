"""What no consumer of the event bus could take in."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0002_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="PoisonMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=32)),
                ("group", models.CharField(max_length=64)),
                ("entry", models.CharField(help_text="its place in the stream", max_length=48)),
                ("body", models.TextField()),
                ("fault", models.CharField(max_length=255)),
                (
                    "state",
                    models.CharField(
                        choices=[("aside", "set aside"), ("again", "given back to its group"), ("done", "Done")],
                        default="aside",
                        max_length=8,
                    ),
                ),
                ("set_aside_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "bus_poison",
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(fields=("topic", "group", "entry"), name="bus_poison_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["aside", "again", "done"])), name="bus_poison_state"
                    ),
                ],
            },
        ),
    ]
