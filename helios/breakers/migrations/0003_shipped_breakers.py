"""The six breakers that Helios ships with; reversing takes exactly these away."""

from django.db import migrations

# name, failures, seconds, guards orders, what it guards
SHIPPED = [
    ("valr_api", 5, 60, True, "Requests to the VALR exchange, orders among them"),
    ("alpaca_api", 5, 60, True, "Requests to the Alpaca broker, orders among them"),
    ("postgres_db", 10, 30, False, "Queries that the pipeline can do without for a while"),
    ("redis_cache", 10, 30, False, "Cached values and announcements in Redis"),
    (
        "neural_network",
        3,
        120,
        False,
        "Inference of the prediction model; the fallback is a neutral forecast",
    ),
    (
        "llm_api",
        5,
        60,
        False,
        "The strategic analyst's language model; the fallback is the rule-based analyst",
    ),
]


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
    dependencies = [("breakers", "0002_append_only")]
    operations = [migrations.RunPython(install, remove)]
