from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("breakers", "0006_remove_forced_open")]
    operations = [
        migrations.AlterField(
            model_name="circuitbreakerevent",
            name="actor",
            field=models.CharField(default="system", max_length=150),
        )
    ]
