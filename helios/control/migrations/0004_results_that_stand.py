"""A result that a task has had stands: workers write results, and whoever reads one finds that of the task."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [
        ("control", "0003_moves_of_workers"),
        ("django_celery_results", "0014_alter_taskresult_status"),
    ]
    operations = [
        for_workers(
            "task_results_stand",
            "django_celery_results_taskresult",
            "OLD.status = 'SUCCESS'",
            "'a worker may not change the result of task %', OLD.task_id",
        )
    ]
