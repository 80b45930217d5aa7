#!/bin/sh
# Puts the passwords of PostgreSQL and Redis where their users read them: the given ones, as variables or as Docker's
# secrets, else random ones, once.
set -eu
folder=${PASSWORDS_FOLDER:-/run/loupe}
secrets=${SECRETS_FOLDER:-/run/secrets}

keep() { # FILE VARIABLE VALUE
  case $3 in
    *[!A-Za-z0-9._~-]*)
      echo "$2 may hold letters, digits and . _ ~ - only, since it becomes part of a URL." >&2
      exit 1
      ;;
    ?*) printf '%s' "$3" >"$folder/$1.new" ;;
    *)
      [ ! -s "$folder/$1" ] || return 0
      head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n' >"$folder/$1.new"
      ;;
  esac
  mv "$folder/$1.new" "$folder/$1"
}

secret() { # FILE
  if [ -e "$secrets/$1" ]; then cat "$secrets/$1"; fi
}

keep postgres_password POSTGRES_PASSWORD "${POSTGRES_PASSWORD:-$(secret postgres_password)}"
keep redis_password REDIS_PASSWORD "${REDIS_PASSWORD:-$(secret redis_password)}"
