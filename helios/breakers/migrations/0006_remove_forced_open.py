from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("breakers", "0005_forced_open_as_mode")]
    operations = [migrations.RemoveField(model_name="circuitbreaker", name="forced_open")]
