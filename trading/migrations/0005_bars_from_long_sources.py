from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0004_delivery")]
    operations = [
        migrations.AlterField(
            model_name="marketohlc",
            name="source",
            field=models.CharField(max_length=255),
        )
    ]
