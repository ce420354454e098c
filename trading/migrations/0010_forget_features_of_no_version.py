from django.db import migrations

FORGET = "TRUNCATE engineered_features"  # features are made again from bars when a cycle needs them


class Migration(migrations.Migration):
    dependencies = [("trading", "0009_features_of_a_version")]
    operations = [migrations.RunSQL(FORGET, FORGET)]
