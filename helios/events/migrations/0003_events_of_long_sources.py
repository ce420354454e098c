from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0002_append_only")]
    operations = [
        migrations.AlterField(
            model_name="systemevent",
            name="source",
            field=models.CharField(max_length=255),
        )
    ]
