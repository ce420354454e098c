from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0013_venues")]
    operations = [
        migrations.RenameField("book", "source", "feed"),
        migrations.AlterField(
            "book",
            "feed",
            models.CharField(
                default="table", help_text="where ingest reads bars: table, sample or file:PATH", max_length=255
            ),
        ),
        migrations.AddConstraint(
            "book",
            models.CheckConstraint(
                condition=models.Q(feed__regex="^(table|sample|file:.+)$"), name="portfolio_state_feed"
            ),
        ),
    ]
