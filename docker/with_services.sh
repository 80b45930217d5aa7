#!/bin/sh
# Names the PostgreSQL and the Redis of this Compose project where no others are named, then becomes the command.
set -eu
folder=${PASSWORDS_FOLDER:-/run/loupe}

if [ -z "${LOUPE_DATABASE_URL:-}" ] && [ -f "$folder/postgres_password" ]; then
  LOUPE_DATABASE_URL="postgresql://loupe:$(cat "$folder/postgres_password")@postgres/loupe"
  export LOUPE_DATABASE_URL
fi
if [ -z "${LOUPE_REDIS_URL:-}" ] && [ -f "$folder/redis_password" ]; then
  LOUPE_REDIS_URL="redis://:$(cat "$folder/redis_password")@redis/0"
  export LOUPE_REDIS_URL
fi
mkdir -p "${TMPDIR:-/tmp}"
exec "$@"
