"""What a person had opened becomes a mode; backwards, what older code cannot express becomes the nearest it can."""

from django.db import migrations
from django.db.models import F
from django.db.models.functions import Greatest


def forward(apps, schema_editor):
    apps.get_model("breakers", "CircuitBreaker").objects.filter(forced_open=True).update(mode="forced_open")


def backward(apps, schema_editor):
    breaker = apps.get_model("breakers", "CircuitBreaker")
    event = apps.get_model("breakers", "CircuitBreakerEvent")
    breaker.objects.filter(mode="forced_open").update(forced_open=True)
    breaker.objects.filter(failure_threshold=0).update(failure_threshold=F("minimum_calls"))
    breaker.objects.update(window_calls=Greatest("window_calls", "failure_threshold", "minimum_calls"))
    breaker.objects.filter(last_state="METRICS_ONLY").update(last_state="CLOSED")
    with schema_editor.connection.cursor() as cursor:  # history is append-only but for maintenance
        cursor.execute("SET LOCAL helios.maintenance = 'on'")
    for field in ("before", "after"):
        event.objects.filter(**{field: "METRICS_ONLY"}).update(**{field: "CLOSED"})


class Migration(migrations.Migration):
    dependencies = [("breakers", "0004_windows_and_modes")]
    operations = [migrations.RunPython(forward, backward)]
