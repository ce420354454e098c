#!/bin/sh
# Run by the PostgreSQL image when it makes its data: the roles of docs/security.md, none of them a superuser.
set -eu

psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres \
    -v owner="$POSTGRES_OWNER_PASSWORD" -v worker="$POSTGRES_WORKER_PASSWORD" \
    -v maintenance="$POSTGRES_MAINTENANCE_PASSWORD" <<'SQL'
CREATE ROLE helios LOGIN PASSWORD :'owner';
CREATE ROLE helios_worker LOGIN CONNECTION LIMIT 120 PASSWORD :'worker';
CREATE ROLE helios_maintenance LOGIN CONNECTION LIMIT 30 PASSWORD :'maintenance';
CREATE DATABASE helios OWNER helios;
SQL
