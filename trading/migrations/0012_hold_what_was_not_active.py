from django.db import migrations

# Who set a state was not kept before. It may have been a person, and the risk tier must not end what a person set.
HOLD = "UPDATE portfolio_state SET held_by_person = true WHERE state <> 'ACTIVE'"


class Migration(migrations.Migration):
    dependencies = [("trading", "0011_safe_orders")]
    operations = [migrations.RunSQL(HOLD, migrations.RunSQL.noop)]
