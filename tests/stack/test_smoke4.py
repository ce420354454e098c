def test_x(fresh_database, db):
    from django.db import connection
    from tests.harness import run_sql, database_url
    print(connection.settings_dict["NAME"], fresh_database)
    print(run_sql(fresh_database, "select datname from pg_database"))
    with connection.cursor() as c:
        c.execute("select count(*) from django_migrations"); print(c.fetchall())
    print(run_sql(fresh_database, "select count(*) from django_migrations"))
