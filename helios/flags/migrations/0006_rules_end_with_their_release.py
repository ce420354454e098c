"""Nothing on the way up. On the way down, flags whose strategy is their rules are put off, with a history entry:

an older release knows no such strategy and would refuse the whole table.
"""

from django.db import migrations

ACTOR = "migration"


def nothing(apps, schema_editor):
    pass


def put_off(apps, schema_editor):
    flags, history = apps.get_model("flags", "FeatureFlag"), apps.get_model("flags", "FeatureFlagHistory")
    generations = apps.get_model("flags", "FlagGeneration")
    affected = [*flags.objects.filter(strategy="rules"), *flags.objects.filter(resume_strategy="rules")]
    if not affected:
        return
    value = generations.objects.filter(pk=1).values_list("value", flat=True).first() or 0
    generations.objects.filter(pk=1).delete()
    generations.objects.create(pk=1, value=value + 1)
    for flag in affected:
        before = {"name": flag.name, "enabled": flag.enabled, "strategy": flag.strategy, "rules": flag.rules}
        if flag.strategy == "rules":
            flag.strategy, flag.enabled = "all_off", False
        else:
            flag.resume_strategy = "all_off"
        flag.generation = value + 1
        flag.save()
        history.objects.create(
            flag_id=flag.name,
            action="edit",
            actor=ACTOR,
            reason="migration reversed: the older release knows no rules",
            before=before,
            after={**before, "enabled": flag.enabled, "strategy": flag.strategy},
            generation=value + 1,
        )


class Migration(migrations.Migration):
    dependencies = [("flags", "0005_segments_append_only")]
    operations = [migrations.RunPython(nothing, put_off)]
