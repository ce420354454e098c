"""The breaker of exchanges that are reached through ccxt; reversing takes it away."""

from django.db import migrations

SHIPPED = [("ccxt_api", 5, 60, False, "Requests for market data to exchanges through ccxt")]


def install(apps, schema_editor):
    breaker = apps.get_model("breakers", "CircuitBreaker")
    for name, failures, open_s, order_path, description in SHIPPED:
        breaker.objects.get_or_create(
            name=name,
            defaults={
                "failure_threshold": failures,
                "minimum_calls": failures,
                "window_calls": 2 * failures,
                "open_s": open_s,
                "permit_s": open_s,
                "order_path": order_path,
                "description": description,
            },
        )


def remove(apps, schema_editor):
    apps.get_model("breakers", "CircuitBreaker").objects.filter(name__in=[row[0] for row in SHIPPED]).delete()


class Migration(migrations.Migration):
    dependencies = [("breakers", "0003_shipped_breakers")]
    operations = [migrations.RunPython(install, remove)]
