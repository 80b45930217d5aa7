#!/bin/sh
# Names the PostgreSQL, the Redis and the API of this Compose project where no others are named, then becomes the command.
set -eu
folder=${PASSWORDS_FOLDER:-/run/loupe}

# A setting may come as a file, such as Docker's secrets: then `docker inspect` does not show it.
for file in "${SECRETS_FOLDER:-/run/secrets}"/loupe_*; do
  name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
  case $name in *[!A-Z_]*) continue ;; esac
  eval "given=\${$name:-}"
  if [ -z "$given" ]; then
    given=$(cat "$file")
    export "$name=$given"
  fi
done

if [ -z "${LOUPE_DATABASE_URL:-}" ] && [ -f "$folder/postgres_password" ]; then
  LOUPE_DATABASE_URL="postgresql://loupe:$(cat "$folder/postgres_password")@postgres/loupe"
  export LOUPE_DATABASE_URL
fi
if [ -z "${LOUPE_REDIS_URL:-}" ] && [ -f "$folder/redis_password" ]; then
  LOUPE_REDIS_URL="redis://:$(cat "$folder/redis_password")@redis/0"
  export LOUPE_REDIS_URL
fi
# Without a key Loupe answers loopback names alone, and a Prometheus in this network asks for `api`.
if [ -z "${LOUPE_ALLOWED_HOSTS:-}" ] && [ -z "${LOUPE_API_KEY:-}" ]; then
  export LOUPE_ALLOWED_HOSTS=api
fi
mkdir -p "${TMPDIR:-/tmp}"
exec "$@"
