"""The Compose project as far as it can be told without a Docker engine; `docker/check.sh` tells the rest."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import __version__
from app.config import Settings
from app.launch.api import UnprotectedError, check_protected
from app.launch.redis_server import ACCESS
from app.networks.pretrained.sources import get_published
from app.services.job_plan import NETWORK
from app.workers.child_process import RELEASE_SECONDS
from docs.generate import COMPOSE_LIMITS, COMPOSE_VARIABLES, ROOT

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
GPU = (ROOT / "docker-compose.gpu.yml").read_text(encoding="utf-8")
S3 = (ROOT / "docker-compose.s3.yml").read_text(encoding="utf-8")
SETTINGS = {f"LOUPE_{name.upper()}" for name in Settings.model_fields}
OURS = {"api", "worker", "tasks", "migrate", "passwords"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def _substituted(text: str, **environment: str) -> str:
    """``${NAME:-default}`` as Compose reads it."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environment.get(found[1]) or found[2], text)


def _environment(service: dict[str, Any]) -> dict[str, Any]:
    return service.get("environment") or {}


def test_the_project_has_its_services_and_two_images(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"postgres", "redis"}
    images = {name: services[name]["image"] for name in OURS}
    assert images.pop("worker") == f"loupe-worker:{__version__}"
    assert set(images.values()) == {f"loupe-api:{__version__}"}
    for name in OURS:
        target = services[name]["build"]["target"]
        assert services[name]["image"] == f"loupe-{target}:{__version__}"
        assert f" AS {target}\n" in DOCKERFILE


def test_every_variable_is_a_setting_and_every_setting_arrives(services: dict[str, Any]) -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docker").glob("*.sh"))
    for text in (COMPOSE, GPU, S3, DOCKERFILE, scripts):
        assert set(re.findall(r"\bLOUPE_[A-Z_]+\b", text)) <= SETTINGS
    for name in ("api", "worker", "tasks", "migrate"):
        assert set(_environment(services[name])) == SETTINGS
    assert set(_environment(services["passwords"])) == set(COMPOSE_VARIABLES)


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for service in services.values():
        for variable, value in _environment(service).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN|_URL", variable) and not variable.endswith("_FILE"):
                assert value is None, variable
    assert not re.search(r"^(ENV|ARG) .*(PASSWORD|SECRET|KEY=|TOKEN)", DOCKERFILE, re.MULTILINE)
    assert not re.search(r"://[^/\s$]*:[^/\s$]+@", COMPOSE + GPU + S3 + DOCKERFILE)


def test_only_the_api_is_published_and_on_loopback_alone(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "ports" in service} == {"api"}
    assert [_substituted(port) for port in services["api"]["ports"]] == ["127.0.0.1:8000:8000"]


def test_publishing_further_wants_an_api_key(services: dict[str, Any]) -> None:
    api = services["api"]

    def settings(**environment: str) -> Settings:
        published = _substituted(_environment(api)["LOUPE_PUBLISHED_HOST"], **environment)
        assert _substituted(api["ports"][0], **environment).startswith(f"{published}:")
        return Settings(host=_environment(api)["LOUPE_HOST"], published_host=published, _env_file=None)

    check_protected(settings())
    with pytest.raises(UnprotectedError):
        check_protected(settings(LOUPE_HOST="0.0.0.0"))


def test_our_containers_are_not_root_and_write_to_their_volumes_alone(services: dict[str, Any]) -> None:
    for target in ("api", "worker"):
        stage = DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert "USER loupe" in stage
        assert "HEALTHCHECK" in stage
        assert stage.index("COPY --from") < stage.index("COPY app")
    for name in OURS:
        assert services[name]["init"]


# What it takes to give its data folder to the user postgres and to become that user.
ADDED = {"postgres": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}


def test_every_container_is_closed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert "/tmp" in service["tmpfs"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add", []) == ADDED.get(name, []), name
        # Nothing more: a seccomp or AppArmor profile that is named here would replace the engine's own.
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] >= 1024, name
        assert not {"privileged", "pid", "ipc", "devices", "userns_mode"} & set(service), name
        assert service.get("network_mode", "none") == "none", name
    for variant in (GPU, S3):
        assert not re.search(r"privileged|cap_add|security_opt|network_mode", variant)


def test_limits_on_memory_are_variables_with_a_default(services: dict[str, Any]) -> None:
    limits = [service["mem_limit"] for service in services.values() if "mem_limit" in service]
    found = dict(match for limit in limits for match in re.findall(r"^\$\{(\w+):-(\w+)\}$", limit))
    assert found == {name: default for name, (default, _) in COMPOSE_LIMITS.items()}


def test_what_must_come_first_is_waited_for(services: dict[str, Any]) -> None:
    def waits_for(name: str) -> dict[str, str]:
        return {other: wait["condition"] for other, wait in services[name]["depends_on"].items()}

    for name in ("api", "worker", "tasks"):
        assert waits_for(name)["migrate"] == "service_completed_successfully"
        assert services[name]["restart"] == "unless-stopped"
    assert waits_for("migrate") == {"postgres": "service_healthy"}
    for name in ("postgres", "redis"):
        assert waits_for(name) == {"passwords": "service_completed_successfully"}
        assert services[name]["healthcheck"]["test"]


def test_a_training_has_the_time_to_write_its_checkpoint(services: dict[str, Any]) -> None:
    for name in ("worker", "tasks"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > RELEASE_SECONDS + 5
        # `exec` all the way: the signal reaches Python and not a shell above it.
    for script in ("loupe", "with_services.sh"):
        assert (ROOT / "docker" / script).read_text(encoding="utf-8").splitlines()[-1].startswith("exec ")


def test_redis_keeps_what_it_is_given(services: dict[str, Any]) -> None:
    command = services["redis"]["command"][0]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_clients_of_redis_administer_it_no_more_than_those_of_the_embedded_one(
    services: dict[str, Any],
) -> None:
    [access] = re.findall(r"^user default (.*)$", services["redis"]["command"][0], re.MULTILINE)
    rules = access.replace(">$$(cat /run/loupe/redis_password)", "nopass").split(" ")
    assert rules == list(ACCESS)


def test_the_gpu_variant_changes_the_worker_alone() -> None:
    services = yaml.safe_load(GPU)["services"]
    assert set(services) == {"worker"}
    requirements = services["worker"]["build"]["args"]["REQUIREMENTS"]
    assert (ROOT / f"requirements/{requirements}.txt").exists()
    [device] = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_s3_variant_gives_every_container_a_home_of_its_own() -> None:
    services, base = yaml.safe_load(S3)["services"], yaml.safe_load(COMPOSE)["services"]
    users = {name for name, service in base.items() if "home:/var/lib/loupe" in service.get("volumes", [])}
    assert users == set(services) == {"api", "worker", "tasks", "migrate"}
    for name, service in services.items():
        # No name, so that no two share it; the API's outlives its container, for the uploads in it.
        assert service["volumes"] == ["home:/var/lib/loupe" if name == "api" else "/var/lib/loupe"]
        for variable, value in service["environment"].items():
            assert value is None or value.startswith(f"${{{variable}:?"), "nothing is written down"


def test_the_images_are_labelled_with_this_version() -> None:
    assert re.findall(r"ARG VERSION=(.*)", DOCKERFILE) == [__version__, __version__]


@pytest.mark.parametrize("lock", ["api", "train", "gpu"])
def test_every_image_holds_the_weights_of_the_default_network(lock: str) -> None:
    weights = get_published(NETWORK)
    assert weights is not None
    assert f"\n{weights.distribution}==" in (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")


def test_what_the_dockerfile_copies_is_let_through_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert "*" in lines
    assert {source.split("/")[0] for source in copied} == allowed


def _run(script: str, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "docker" / script), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PASSWORDS_FOLDER": str(folder),
            "SECRETS_FOLDER": str(folder / "secrets"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_passwords_are_made_once_and_given_ones_win(tmp_path: Path) -> None:
    files = [tmp_path / "postgres_password", tmp_path / "redis_password"]
    _run("make_passwords.sh", folder=tmp_path).check_returncode()
    made = [file.read_text() for file in files]
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in made)
    assert made[0] != made[1]

    _run("make_passwords.sh", folder=tmp_path, POSTGRES_PASSWORD="").check_returncode()
    assert [file.read_text() for file in files] == made

    _run("make_passwords.sh", folder=tmp_path, REDIS_PASSWORD="mine").check_returncode()
    assert [file.read_text() for file in files] == [made[0], "mine"]


def test_a_password_that_breaks_a_url_is_refused(tmp_path: Path) -> None:
    ended = _run("make_passwords.sh", folder=tmp_path, POSTGRES_PASSWORD="a@b")
    assert ended.returncode == 1
    assert "POSTGRES_PASSWORD" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_passwords_may_come_as_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/redis_password").write_text("from-a-file\n")
    _run("make_passwords.sh", folder=tmp_path, POSTGRES_PASSWORD="given").check_returncode()
    kept = [(tmp_path / f"{name}_password").read_text() for name in ("postgres", "redis")]
    assert kept == ["given", "from-a-file"]


def test_a_setting_may_come_as_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name, text in {
        "loupe_api_key": "s3cret '$x\n",
        "loupe_database_url": "postgresql://mine",
        "other": "no",
    }.items():
        (tmp_path / "secrets" / name).write_text(text)
    show = ("sh", "-c", 'echo "$LOUPE_API_KEY|${LOUPE_DATABASE_URL:-}|${OTHER:-}|${LOUPE_ALLOWED_HOSTS:-}"')
    assert _run("with_services.sh", *show, folder=tmp_path).stdout == "s3cret '$x|postgresql://mine||\n"
    given = _run("with_services.sh", *show, folder=tmp_path, LOUPE_API_KEY="given").stdout
    assert given.startswith("given|"), "a variable counts more"


def test_a_secret_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "secrets/loupe_api_key").mkdir(parents=True)
    ended = _run("with_services.sh", "true", folder=tmp_path)
    assert ended.returncode != 0
    assert "loupe_api_key" in ended.stderr


def test_commands_learn_the_addresses_unless_others_are_named(tmp_path: Path) -> None:
    _run("make_passwords.sh", folder=tmp_path, POSTGRES_PASSWORD="p", REDIS_PASSWORD="r")
    show = ("sh", "-c", 'echo "$LOUPE_DATABASE_URL $LOUPE_REDIS_URL"')
    found = _run("with_services.sh", *show, folder=tmp_path, LOUPE_DATABASE_URL="")
    assert found.stdout.split() == ["postgresql://loupe:p@postgres/loupe", "redis://:r@redis/0"]
    named = _run("with_services.sh", *show, folder=tmp_path, LOUPE_REDIS_URL="redis://elsewhere")
    assert named.stdout.split()[1] == "redis://elsewhere"


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, "api"),
        ({"LOUPE_API_KEY": "s3cret"}, ""),
        ({"LOUPE_ALLOWED_HOSTS": "loupe.example"}, "loupe.example"),
    ],
)
def test_a_prometheus_in_the_network_is_answered_with_and_without_a_key(
    tmp_path: Path, given: dict[str, str], hosts: str
) -> None:
    show = ("sh", "-c", 'echo "${LOUPE_ALLOWED_HOSTS:-}"')
    assert _run("with_services.sh", *show, folder=tmp_path, **given).stdout.strip() == hosts
    assert 'targets: ["api:8000"]' in (ROOT / "docker/prometheus.yml").read_text(encoding="utf-8")
