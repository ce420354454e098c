import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0010_forget_features_of_no_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="book",
            name="held_by_person",
            field=models.BooleanField(
                default=False, help_text="a person set this state: the risk tier may worsen it and never ends it"
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="superseded_by",
            field=models.ForeignKey(
                blank=True,
                help_text="the later decision that counts on this order not being there; its sender asks for the cancel",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="superseded",
                to="trading.pipelinecycle",
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="status",
            field=models.CharField(
                choices=[
                    ("NEW", "New"),
                    ("WITHHELD", "Withheld (never sent, see its reason)"),
                    ("SENDING", "Sending"),
                    ("UNKNOWN", "Unknown (venue has to be asked)"),
                    ("ACCEPTED", "Accepted"),
                    ("FILLED", "Filled"),
                    ("CANCELLED", "Cancelled"),
                    ("REJECTED", "Rejected"),
                ],
                default="NEW",
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("superseded_by__isnull", True), models.Q(("status", "NEW"), _negated=True), _connector="OR"
                ),
                name="orders_superseded_never_sent",
            ),
        ),
    ]
