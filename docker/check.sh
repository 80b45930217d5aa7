#!/usr/bin/env bash
# Proves the Compose project in a Docker engine, from a clean clone: builds, starts, walks through the API, scales,
# kills a worker, stops everything in the middle of a training, starts it again, takes it down.
# Needs git, curl and Docker. Says what it saw; ends with status 0 when all of it held. About ten minutes.
#   docker/check.sh            PORT=8123 docker/check.sh
#   docker/check.sh s3         files on an S3 server (moto's, in a container of its own), no home folder shared, only the API's kept
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
unset "${!LOUPE_@}" POSTGRES_PASSWORD REDIS_PASSWORD
export COMPOSE_PROJECT_NAME=loupe-check LOUPE_PORT=${PORT:-8123}
# Shorter than the defaults, so that a killed worker is missed in seconds.
export LOUPE_LEASE_SECONDS=15 LOUPE_HEARTBEAT_SECONDS=5 LOUPE_CHECKPOINT_SECONDS=5
url=http://127.0.0.1:$LOUPE_PORT
storage=${1:-home}
s3=loupe-check-s3

if docker compose version >/dev/null 2>&1; then compose() { docker compose "$@"; }; else compose() { docker-compose "$@"; }; fi

step() { printf '\n[%4d s] %s\n' "$SECONDS" "$*"; }
saw() { printf '         %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
expect() { [[ $2 == "$3" ]] || fail "$1 is $2, not $3"; saw "$1: $2"; }

quietly() { # the command's output only when it fails
  "$@" >"$work/output" 2>&1 || { tail -40 "$work/output" >&2; fail "$*"; }
}

finish() {
  local status=$?
  if ((status != 0)); then compose logs --tail 40 api worker tasks migrate >&2 || true; fi
  step "Take it down"
  compose down --volumes --remove-orphans >/dev/null 2>&1 || true
  if [[ $storage == s3 ]]; then stop_s3; fi
  rm -rf "$work"
  if ((status == 0)); then printf '\nAll of it held, in %d seconds.\n' "$SECONDS"; fi
  exit "$status"
}

start_s3() {
  stop_s3
  docker build --quiet --tag $s3 - >/dev/null <<'END'
FROM python:3.13-slim-trixie
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --quiet --no-cache-dir 'moto[s3]' flask flask-cors
CMD ["/opt/venv/bin/python", "-m", "moto.server", "-H", "0.0.0.0", "-p", "9000"]
END
  docker network create $s3 >/dev/null
  docker run --detach --name $s3 --network $s3 --network-alias s3 $s3 >/dev/null
  in_s3 '
import time, urllib.request
for _ in range(60):
    try:
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9000/loupe", method="PUT"))
        break
    except OSError:
        time.sleep(1)'
  cat >docker-compose.check.yml <<END
networks: {storage: {external: true, name: $s3}}
services:
  api: &storage {networks: [default, storage]}
  worker: *storage
  tasks: *storage
END
  export COMPOSE_FILE=docker-compose.yml:docker-compose.s3.yml:docker-compose.check.yml
  export LOUPE_STORAGE_URL=s3://loupe LOUPE_STORAGE_ENDPOINT_URL=http://s3:9000 LOUPE_STORAGE_REGION=us-east-1
  export LOUPE_STORAGE_ACCESS_KEY=check LOUPE_STORAGE_SECRET_KEY=check
}
stop_s3() {
  docker rm --force $s3 >/dev/null 2>&1 || true
  docker network rm $s3 >/dev/null 2>&1 || true
}
in_s3() { docker exec $s3 /opt/venv/bin/python -c "$1"; }
copy_bucket() { # FROM TO, emptied first
  in_s3 "
import boto3
s3 = boto3.resource('s3', endpoint_url='http://127.0.0.1:9000', aws_access_key_id='x', aws_secret_access_key='x', region_name='us-east-1')
s3.create_bucket(Bucket='$2')
s3.Bucket('$2').objects.delete()
for found in s3.Bucket('$1').objects.all():
    s3.Bucket('$2').copy({'Bucket': '$1', 'Key': found.key}, found.key)"
}
objects() { # PREFIX → how many
  in_s3 "
import boto3
client = boto3.client('s3', endpoint_url='http://127.0.0.1:9000', aws_access_key_id='x', aws_secret_access_key='x', region_name='us-east-1')
pages = client.get_paginator('list_objects_v2').paginate(Bucket='loupe', Prefix='$1')
print(sum(page['KeyCount'] for page in pages))"
}

call() { curl --silent --show-error --fail-with-body --max-time 120 "$url$1" "${@:2}"; }
status_of() { curl --silent --output /dev/null --max-time 120 --write-out '%{http_code}' "$url$1" "${@:2}"; }
post() { call "$1" -X POST -H 'content-type: application/json' -d "$2"; }
in_api() { compose exec -T api python -c "$1"; }
pick() { in_api "import json, sys; answer = json.load(sys.stdin); print($1)"; }

wait_until_ready() {
  for _ in $(seq 120); do
    if call /readyz >"$work/ready" 2>/dev/null; then saw "$(cat "$work/ready")"; return; fi
    sleep 1
  done
  fail "not ready: $(cat "$work/ready")"
}

train() { # EPOCHS → the job's id
  post /jobs '{"product": "digits", "network": "tiny_cnn", "hyperparameters": {"epochs": '"$1"',
    "learning_rate": 0.003, "horizontal_flip": false, "early_stopping": false, "seed": 1}}' | pick 'answer["id"]'
}

end_of() { # JOB → its status, once it has ended
  local status
  for _ in $(seq 20); do
    status=$(call "/jobs/$1?wait=30" | pick 'answer["status"]')
    case $status in queued | running) ;; *) echo "$status"; return ;; esac
  done
  echo "$status after ten minutes"
}

wait_for_checkpoint() { # JOB
  for _ in $(seq 120); do
    if call "/jobs/$1/events?limit=100" | grep -q '"type":"checkpoint"'; then return; fi
    sleep 1
  done
  fail "no checkpoint of $1"
}

expect_whole() { # JOB: it succeeded, and its steps are told once each
  expect "status" "$(end_of "$1")" succeeded
  local gaps='[step["step"] for step in answer["steps"]] == list(range(1, answer["last_step"] + 1))'
  expect "each step told once" "$(call "/jobs/$1/metrics?max_points=100000" | pick "$gaps")" True
  saw "$(call "/jobs/$1" | pick '"attempts: %s, steps: %s" % (answer["attempt"], answer["progress"]["step"])')"
}

predict() { call /predict -F "file=@$work/seven.png" -F "$1"; }
probabilities() { predict "$1" | pick 'answer["results"][0]["predictions"]'; }

expect_closed() { # CONTAINER: no root, no capability, no way to get one, nothing to write to but its volumes
  local name process line
  name=$(docker inspect --format '{{.Name}}' "$1")
  process=$(docker exec "$1" cat /proc/1/status)
  for line in CapEff=0000000000000000 NoNewPrivs=1 Seccomp=2; do
    grep -q "^${line%=*}:[[:space:]]*${line#*=}$" <<<"$process" || fail "$name: not $line"
  done
  grep -q '^Uid:[[:space:]]*0[[:space:]]' <<<"$process" && fail "$name runs as root"
  docker exec --user 0 "$1" touch /written 2>/dev/null && fail "$name: its file system is writable"
  expect "$name" "$(docker inspect --format \
    '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} {{.HostConfig.PidsLimit}}' "$1")" \
    "true false [ALL] 4096"
}

trap finish EXIT
trap 'exit 130' INT TERM   # or an interrupted run would end as one in which all held

step "A clean clone of $(git -C "$root" log -1 --format='%h %s')"
git clone --quiet "$root" "$work/loupe"
cd "$work/loupe"
REVISION=$(git rev-parse HEAD)
export REVISION

if [[ $storage == s3 ]]; then
  step "An S3 server"
  start_s3
fi

step "Build the images"
quietly compose build
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
for image in "loupe-api:$version" "loupe-worker:$version"; do
  bytes=$(docker image inspect --format '{{.Size}}' "$image")
  saw "$image: $((bytes / 1000000)) MB, revision $(docker image inspect --format \
    '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$image" | cut -c1-7)"
done
bytes=$(docker image inspect --format '{{.Size}}' "loupe-api:$version")
((bytes <= 640000000)) || fail "loupe-api is larger than 640 MB"
docker run --rm --network none "loupe-api:$version" python -c 'import tensorflow' 2>/dev/null && fail "TensorFlow is in loupe-api"

step "Start, with no .env"
compose down --volumes --remove-orphans >/dev/null 2>&1
quietly compose up -d
wait_until_ready
address=$(docker port "$(compose ps -q api)" 8000)
expect "published at" "$address" "127.0.0.1:$LOUPE_PORT"

step "Beyond loopback it refuses to start without an API key"
LOUPE_HOST=0.0.0.0 compose run --rm --no-deps api >"$work/output" 2>&1 && fail "it started"
saw "$(grep -m1 -o 'error: .*' "$work/output" || tail -1 "$work/output")"

step "Each container is closed"
running=0
for container in $(compose ps -q); do
  [[ $(docker inspect --format '{{.State.Running}}' "$container") == true ]] || continue
  running=$((running + 1))
  expect_closed "$container"
done
expect "containers that run" $running 5
as_redis() { compose exec -T redis sh -c "$1 redis-cli $2"; }
expect "Redis without its password" "$(as_redis '' ping | head -c 6)" NOAUTH
password='REDISCLI_AUTH=$(cat /run/loupe/redis_password)'
for command in 'config get dir' 'module list' 'acl list' flushall shutdown; do
  expect "Redis asked for $command" "$(as_redis "$password" "$command" | head -c 6)" NOPERM
done

step "A key in a file"
(
  key=$(head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n')
  printf '%s\n' "$key" >"$work/api_key"
  chmod 644 "$work/api_key"   # the container's user reads it, under a number of its own
  chmod 711 "$work"
  cat >"$work/secret.yml" <<END
secrets: {loupe_api_key: {file: $work/api_key}}
services: {api: {secrets: [loupe_api_key]}}
END
  export COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.yml}:$work/secret.yml
  quietly compose up -d api
  wait_until_ready
  expect "without it" "$(status_of /products)" 401
  expect "with it" "$(status_of /products -H "Authorization: Bearer $key")" 200
  for container in $(compose ps -q); do
    docker inspect "$container" | grep -q "$key" && fail "docker inspect shows the key"
  done
  saw "docker inspect shows it nowhere"
)
quietly compose up -d api
wait_until_ready
expect "no key again" "$(status_of /products)" 200

step "The walk: a product, images, a training, metrics, a prediction"
in_api 'import pathlib, shutil, tempfile
from app.cli.digits import write_digits
folder = pathlib.Path(tempfile.mkdtemp())
digits = write_digits(folder)
shutil.copy(digits.held_out / "7" / "000.png", digits.uploaded.parent / "seven.png")
shutil.make_archive("/tmp/digits", "zip", digits.uploaded)
shutil.copy(folder / "seven.png", "/tmp/seven.png")'
compose exec -T api cat /tmp/digits.zip >"$work/digits.zip"
compose exec -T api cat /tmp/seven.png >"$work/seven.png"
post /products '{"id": "digits"}' >/dev/null
call /products/digits/datasets -F "file=@$work/digits.zip" >"$work/dataset"
dataset=$(pick 'answer["id"]' <"$work/dataset")
for _ in $(seq 60); do
  status=$(call "/datasets/$dataset" | pick 'answer["status"]')
  [[ $status == ready || $status == failed ]] && break
  sleep 1
done
expect "dataset" "$status" ready
first=$(train 6)
expect "job" "$(end_of "$first")" succeeded
call "/jobs/$first/metrics" | pick '"test: " + str(answer["test"])' | cut -c1-200 | sed 's/^/         /'
expect "a seven is read as" "$(predict product=digits | pick 'answer["top"]["label"]')" 7
before=$(probabilities "job=$first")

step "Three workers, ten jobs at once"
quietly compose up -d --scale worker=3
jobs=()
for _ in $(seq 10); do jobs+=("$(train 2)"); done
for each in "${jobs[@]}"; do
  status=$(end_of "$each")
  [[ $status == succeeded ]] || fail "$each ended as $status"
done
saw "ten succeeded"
for container in $(compose ps -q worker); do
  saw "$(docker logs "$container" 2>&1 | grep -c 'Task loupe.run_job.*succeeded') by $(docker inspect --format '{{.Name}}' "$container")"
done

step "A worker is killed in the middle of a training"
job=$(train 60)
wait_for_checkpoint "$job"
victim=
for container in $(compose ps -q worker); do
  if docker top "$container" | grep -q app.training; then victim=$container; fi
done
[[ -n $victim ]] || fail "no worker trains"
docker kill "$victim" >/dev/null
saw "killed $(docker inspect --format '{{.Name}}' "$victim"): $(call "/jobs/$job" | pick 'answer["progress"]["step"]') steps done"
if [[ $storage == s3 ]]; then
  docker rm --volumes "$victim" >/dev/null
  saw "its home folder is gone with it"
fi
expect_whole "$job"

step "Everything is stopped in the middle of a training, without --volumes, and started again"
quietly compose up -d --scale worker=1
job=$(train 60)
for _ in $(seq 60); do
  if [[ $(call "/jobs/$job" | pick '(answer["progress"]["step"] or 0) > 50') == True ]]; then break; fi
  sleep 1
done
stopped=$SECONDS
quietly compose stop worker
saw "the worker left after $((SECONDS - stopped)) s, the job is $(call "/jobs/$job" | pick 'answer["status"]')"
quietly compose down
quietly compose up -d
wait_until_ready
expect_whole "$job"
expect "models" "$(call '/models?product=digits&limit=100' | pick 'len(answer["data"])')" 13
expect "the first model's probabilities unchanged" "$([[ $(probabilities "job=$first") == "$before" ]] && echo yes)" yes

if [[ $storage == s3 ]]; then
  step "What the new home folders fetch"
  item=$(call "/datasets/$dataset/items?limit=1" | pick 'answer["data"][0]["id"]')
  expect "an image is a" "$(call "/datasets/$dataset/items/$item/image" | head -c 4 | tail -c 3)" PNG
  expect "lines of the first log" "$(call "/jobs/$first/logs/training_result.log" | grep -c epoch)" 6
  saw "the bucket holds $(objects '') objects: $(objects models/) of models, $(objects pictures/) of images"
  expect "uploads left in it" "$(objects scratch/)" 0
fi

step "A backup, everything lost, and restored"   # as docs/deploy.md says
if [[ $storage == home ]]; then quietly compose stop api worker tasks; fi
compose exec -T postgres pg_dump --username=loupe --format=custom loupe >"$work/loupe.dump"
if [[ $storage == s3 ]]; then
  copy_bucket loupe loupe-backup
else
  compose run --rm --no-deps -T api \
    tar --create --directory=/var/lib/loupe --exclude=./records --exclude=./scratch . >"$work/home.tar"
fi
saw "$(wc -c <"$work/loupe.dump") bytes of the database, $([[ $storage == s3 ]] && echo "a copy of the bucket" || echo "$(wc -c <"$work/home.tar") bytes of files")"
quietly compose down --volumes
if [[ $storage == s3 ]]; then copy_bucket loupe-backup loupe; fi
quietly compose up -d postgres
compose exec -T postgres sh -c 'until pg_isready --quiet --host=127.0.0.1; do sleep 1; done'
compose exec -T postgres pg_restore --username=loupe --dbname=loupe --no-owner --exit-on-error <"$work/loupe.dump"
if [[ $storage == home ]]; then
  compose run --rm --no-deps -T api tar --extract --directory=/var/lib/loupe <"$work/home.tar"
fi
quietly compose up -d
wait_until_ready
expect "models" "$(call '/models?product=digits&limit=100' | pick 'len(answer["data"])')" 13
expect "the first model's probabilities unchanged" "$([[ $(probabilities "job=$first") == "$before" ]] && echo yes)" yes
job=$(train 2)
expect "a new job" "$(end_of "$job")" succeeded

step "Health"
sleep 35
for container in $(compose ps -q); do
  saw "$(docker inspect --format '{{.Name}} {{.State.Status}}{{if .State.Health}} {{.State.Health.Status}}{{end}}' "$container")"
done
