"""A worker pins cycles to versions that are in charge, or were just before, and to rollouts that a trader started."""

from django.db import migrations

from helios.db.triggers import for_workers


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0011_decisions_of_their_cycles"),
        ("modules", "0008_passed_once"),
        ("rollouts", "0003_moves_of_workers"),
    ]
    operations = [
        for_workers(
            "pipeline_cycles_pins",
            "pipeline_cycles",
            # a cycle that begins while its slot is switched names what was there before; a rolled back one is no
            # `previous` then, but the switch tells of it
            """EXISTS (
        SELECT FROM jsonb_each_text(NEW.modules) pin
        WHERE OLD.modules ->> pin.key IS DISTINCT FROM pin.value AND NOT EXISTS (
            SELECT FROM modules m JOIN module_versions v ON v.module_id = m.id
            WHERE (m.name, v.label) = (pin.key, pin.value) AND (
                v.id IN (m.active_id, m.previous_id)
                OR v.id = (SELECT from_version_id FROM module_swaps WHERE module_id = m.id ORDER BY id DESC LIMIT 1)
            )
        )
    ) OR NEW.rollouts IS DISTINCT FROM OLD.rollouts AND EXISTS (
        SELECT FROM jsonb_array_elements(NEW.rollouts) pin
        WHERE NOT EXISTS (
            SELECT FROM rollouts r
            WHERE r.id = (pin ->> 'rollout_id')::bigint AND r.started_at IS NOT NULL
            AND (r.kind, r.target, r.challenger) = (pin ->> 'kind', pin ->> 'target', pin ->> 'challenger')
        )
    )""",
            "'a worker may pin a cycle to what is in charge: % and % refused', NEW.modules, NEW.rollouts",
            events="INSERT OR UPDATE",
        )
    ]
