from django.db import migrations, models

FORWARD = """
ALTER TABLE engineered_features ADD COLUMN version varchar(96) NOT NULL DEFAULT '';
ALTER TABLE engineered_features ALTER COLUMN version DROP DEFAULT;
ALTER TABLE engineered_features DROP CONSTRAINT engineered_features_pkey;
ALTER TABLE engineered_features ADD PRIMARY KEY (symbol, timeframe, feature_set, version, bar_ts);
"""
BACK = """
ALTER TABLE engineered_features DROP CONSTRAINT engineered_features_pkey;
ALTER TABLE engineered_features DROP COLUMN version;
ALTER TABLE engineered_features ADD PRIMARY KEY (symbol, timeframe, bar_ts, feature_set);
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_symbols")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, BACK)],
            state_operations=[
                migrations.AddField(
                    model_name="engineeredfeatures",
                    name="version",
                    field=models.CharField(help_text="label of the module version", max_length=96),
                    preserve_default=False,
                ),
                migrations.AlterField(
                    model_name="engineeredfeatures",
                    name="pk",
                    field=models.CompositePrimaryKey(
                        "symbol",
                        "timeframe",
                        "feature_set",
                        "version",
                        "bar_ts",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
            ],
        )
    ]
