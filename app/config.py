"""Settings: everything that can be set from outside, read once from the environment (prefix ``LOUPE_``)."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# sun_path holds 108 bytes on Linux and 104 on macOS, its terminating zero included.
MAX_SOCKET_PATH = 100
PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f.]*:[0-9a-f:.]+")
ORIGIN = re.compile(r"https?://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")

MOST = 2**31 - 1
OF_EACH_KEY = "each key that states no such limit itself; LOUPE_API_KEY has none. Unset: any number."


def is_path_prefix(path: str) -> bool:
    """Whether links may begin with ``path``: nothing that a header, HTML or another host could be made of."""
    return len(path) <= 200 and PATH_PREFIX.fullmatch(path) is not None


def local_url(host: str, port: int) -> str:
    """Where a service that listens on ``host`` answers requests of its own machine."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else name}:{port}"


class Settings(BaseSettings):
    """The settings of one process; frozen, so that no part can change them under another."""

    # An empty variable is an unset one: `LOUPE_API_KEY=` must not become a key that anybody can send.
    model_config = SettingsConfigDict(
        env_prefix="LOUPE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(
        Path("~/.loupe"),
        description="Folder for the database, images, models, logs and the embedded Redis.",
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of the database. Unset: SQLite in the home folder."
    )
    redis_url: str | None = Field(
        None, description="URL of the Redis server. Unset: `loupe up` starts one in the home folder."
    )
    storage_url: str | None = Field(
        None,
        description="Storage that several hosts share: s3://BUCKET or s3://BUCKET/PREFIX, or file:///FOLDER. "
        "Unset: the home folder, which then all hosts share.",
    )
    storage_endpoint_url: str | None = Field(
        None, description="URL of the S3 server (MinIO, SeaweedFS, Ceph). Unset: AWS."
    )
    storage_access_key: str | None = Field(
        None,
        description="Access key of the S3 server. Unset: as AWS's own tools find it (AWS_ACCESS_KEY_ID).",
    )
    storage_secret_key: SecretStr | None = Field(
        None, description="Secret key of the S3 server. Unset: as AWS's own tools find it."
    )
    storage_region: str | None = Field(
        None, description="Region of the bucket. Unset: as AWS's own tools find it (AWS_DEFAULT_REGION)."
    )
    storage_path_style: bool | None = Field(
        None,
        description="Whether the bucket is named in the path of the URL instead of its host. "
        "Unset: it is where LOUPE_STORAGE_ENDPOINT_URL is set.",
    )
    host: str = Field(
        "127.0.0.1", description="Address the API listens on; beyond loopback an API key must be set."
    )
    published_host: str | None = Field(
        None,
        description="Address at which a container's port is published; it then decides about the API key. "
        "Unset: LOUPE_HOST.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on.")
    root_path: str = Field(
        "",
        description="Path prefix under which a proxy publishes the API, such as /loupe. Unset: the "
        "X-Forwarded-Prefix of a trusted proxy, if it sends one.",
    )
    trusted_proxies: str | None = Field(
        None,
        description="Addresses or networks of the proxies whose X-Forwarded headers count, separated by "
        "commas; `*` trusts every client. Unset: uvicorn's FORWARDED_ALLOW_IPS, else 127.0.0.1 and ::1.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Host names under which the API is answered, besides those of loopback, separated by "
        "commas: loupe.example, *.example.org for all below it, `*` for any. Unset: any where an API key is "
        "set, else none.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may call the API, such as https://line.example, separated by "
        "commas; `*` is any. Unset: none.",
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that webhooks may be sent to, separated by commas: hooks.example, *.example.org "
        "for all below it, an address, `*` for any with a public address. A host that is named may also have "
        "a private address. Unset: any with a public address.",
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        description="Address of an MLflow server, such as http://mlflow:5000, to which workers send each "
        "training that has ended. They need `loupe-classifier[mlflow]`. Unset: none.",
    )
    low_disk_bytes: int = Field(
        5 * 2**30,
        ge=0,
        le=2**50,
        description="Free space in the home folder under which webhooks are sent `disk.low`; 0: never.",
    )
    api_key: SecretStr | None = Field(
        None,
        description="The first key, with every scope: once it is set, every route but the health checks asks "
        "for a key. `loupe key create` makes others.",
    )
    dataset_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description=f"Folders that datasets may be imported from by path, separated by {os.pathsep!r}."
    )
    max_upload_bytes: int = Field(20 * 2**30, gt=0, description="Largest archive that may be uploaded.")
    max_predict_bytes: int = Field(64 * 2**20, gt=0, description="Largest body of a prediction request.")
    predict_memory_bytes: int = Field(
        512 * 2**20,
        ge=16 * 2**20,
        description="Memory that prediction requests may take together: one half for their bodies, one for "
        "decoding large images. One key, or one client's address without a key, has at most half of that for "
        "bodies. What alone needs more has its turn alone. Small images take up to 80 MB a core beside it.",
    )
    max_json_bytes: int = Field(2**20, gt=0, description="Largest body of any other request.")
    max_predict_files: int = Field(64, gt=0, description="Most images in one prediction request.")
    max_pixels: int = Field(
        120_000_000,
        gt=0,
        description="Most pixels of an image, in imports, trainings, evaluations and predictions. Decoding "
        "one takes up to 20 bytes a pixel: 2.4 GB for 120 million.",
    )
    max_connections: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Most connections that the API holds open; fewer where the limit on open files is low.",
    )
    max_connections_per_client: int = Field(
        100,
        ge=0,
        le=100_000,
        description="Most connections of one address, or of one /64 network of IPv6, that is no trusted "
        "proxy; 0: no bound.",
    )
    slow_seconds: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="Longest time for the head of a request. A body must bring 1,000 bytes a second over "
        "each such time, and a client that reads nothing of its answer for three of them is cut off.",
    )
    examine_imports: bool = Field(
        True,
        description="Whether an import looks at all images: which show the same thing, which labels look "
        "wrong? It takes about 25 ms of one core an image. `POST /datasets/{id}/examinations` does it later.",
    )
    max_dataset_items: int = Field(
        200_000, gt=0, description="Most entries in one dataset archive or folder."
    )
    max_unpacked_bytes: int = Field(200 * 2**30, gt=0, description="Most bytes one archive may unpack to.")
    gpus: str | None = Field(
        None,
        description="GPUs that a worker may use: numbers or UUIDs as `nvidia-smi -L` lists them, or none. "
        "Unset: all that it sees.",
    )
    training_concurrency: int | None = Field(
        None,
        ge=1,
        description="Trainings that one worker runs at a time. Unset: one for each GPU, or one without any.",
    )
    task_concurrency: int = Field(
        2, ge=1, description="Imports, exports, evaluations and predictions a worker runs at a time."
    )
    checkpoint_seconds: float = Field(
        60.0, gt=0, description="Longest time between two checkpoints of a job."
    )
    lease_seconds: float = Field(60.0, ge=2, description="Time after which a silent worker loses its job.")
    heartbeat_seconds: float = Field(10.0, gt=0, description="Time between two heartbeats of a running job.")
    stall_seconds: float = Field(
        600.0, gt=0, description="Least time without progress that ends a job as stalled."
    )
    dispatch_seconds: float = Field(
        10.0, gt=0, description="Time after which a queued job is announced again."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts without a new checkpoint before a job fails.")
    kept_models: int = Field(
        10,
        ge=0,
        description="Most models of a product that are kept although they failed their gate; of more, the "
        "oldest are removed.",
    )
    kept_model_days: float = Field(
        30.0, gt=0, le=36_500, description="Days after which a model that failed its gate is removed."
    )
    idempotency_key_days: float = Field(
        7.0,
        gt=0,
        le=36_500,
        description="Days for which a request with an Idempotency-Key that was sent before gets its first "
        "answer again.",
    )
    audit_days: float = Field(
        365.0, gt=0, le=36_500, description="Days for which the records of who did what are kept."
    )
    key_requests_per_minute: int | None = Field(
        None, ge=1, le=MOST, description=f"Most requests a minute of {OF_EACH_KEY}"
    )
    key_predictions_per_minute: int | None = Field(
        None, ge=1, le=MOST, description=f"Most images predicted a minute of {OF_EACH_KEY}"
    )
    key_upload_bytes_per_day: int | None = Field(
        None, ge=1, le=10**15 - 1, description=f"Most bytes uploaded a day of {OF_EACH_KEY}"
    )
    key_concurrent_jobs: int | None = Field(
        None, ge=1, le=MOST, description=f"Most jobs queued or running of {OF_EACH_KEY}"
    )
    key_stored_images: int | None = Field(
        None, ge=1, le=MOST, description=f"Most images in the datasets of {OF_EACH_KEY}"
    )
    model_cache_bytes: int = Field(
        2 * 2**30, gt=0, description="Memory for loaded models, least used leave first."
    )
    pinned: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Products, or `product@alias`, between commas: their models are loaded at the start, and "
        "none of the others takes their memory.",
    )
    inference_threads: int = Field(
        0, ge=0, description="Images predicted at once per model; 0 takes the cores."
    )
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65534,
        description="Port of a worker's own Prometheus metrics; 0: none. `loupe up` gives the worker for "
        "imports and evaluations the next one.",
    )
    worker_metrics_host: str = Field(
        "127.0.0.1", description="Address that a worker's metrics are served at; they ask for no API key."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["text", "json"] = Field(
        "text", description="How logs are written: text, or json with one object a line."
    )

    @field_validator("home", mode="after")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("root_path", mode="after")
    @classmethod
    def _plain_prefix(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        if value and not is_path_prefix(value):
            raise ValueError("must be a path such as /loupe: letters, digits and ._~- between slashes")
        return value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if value is None or value.strip() == "*":
            return value and "*"
        parts = [part.strip() for part in value.split(",") if part.strip()]
        for part in parts:
            ip_network(part)
        return ",".join(parts)

    @property
    def first_key(self) -> str | None:
        """LOUPE_API_KEY in the clear: for those who compare with it, and for what hides it."""
        return self.api_key.get_secret_value() if self.api_key is not None else None

    @field_validator("api_key", mode="after")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        key = value.get_secret_value().strip()
        if not key.isprintable():  # nor is half of a character, which no client could send
            raise ValueError("must be one line of text, without control characters")
        return SecretStr(key) if key else None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        origins = tuple(part.strip().rstrip("/").lower() for part in parts if part.strip())
        if origins != ("*",) and not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("must be `*`, or origins such as https://line.example, separated by commas")
        return origins

    @field_validator("pinned", mode="before")
    @classmethod
    def _split_pinned(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(part.strip() for part in parts if part.strip())

    @field_validator("allowed_hosts", "webhook_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        hosts = tuple(part.strip().lower().strip("[]") for part in parts if part.strip())
        if not all(host == "*" or HOST_PATTERN.fullmatch(host) for host in hosts):
            raise ValueError(
                "must be host names without a port, such as loupe.example or *.example.org, or `*`"
            )
        return hosts

    @field_validator("dataset_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part for part in value.split(os.pathsep) if part]
        return tuple(Path(part).expanduser().resolve() for part in value)

    @field_validator("storage_url", mode="after")
    @classmethod
    def _known_storage(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        is_bucket = url.scheme == "s3" and bool(url.netloc)
        is_folder = url.scheme == "file" and not url.netloc and url.path.startswith("/") and url.path != "/"
        if not (is_bucket or is_folder) or url.query or url.fragment or "@" in url.netloc:
            raise ValueError("must be s3://BUCKET, s3://BUCKET/PREFIX or file:///FOLDER")
        return value.rstrip("/")

    @field_validator("storage_endpoint_url", mode="after")
    @classmethod
    def _http_endpoint(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc
        ):
            raise ValueError("must be http://HOST:PORT or https://HOST")
        return value

    @field_validator("mlflow_tracking_uri", mode="after")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
            raise ValueError(
                "must be http://HOST:PORT or https://HOST, without a password: MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD hold that"
            )
        return value.rstrip("/")

    @field_validator("log_level", mode="after")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Settings:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("LOUPE_LEASE_SECONDS must be at least twice LOUPE_HEARTBEAT_SECONDS")
        return self

    @model_validator(mode="after")
    def _keys_come_together(self) -> Settings:
        if (self.storage_access_key is None) != (self.storage_secret_key is None):
            raise ValueError("LOUPE_STORAGE_ACCESS_KEY and LOUPE_STORAGE_SECRET_KEY must be set together")
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database to use: the one given, or SQLite in the home folder."""
        return self.database_url or f"sqlite:///{self.home / 'loupe.db'}"

    @property
    def resolved_trusted_proxies(self) -> str:
        """The proxies to trust, as uvicorn takes them."""
        return self.trusted_proxies or os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"

    @property
    def predict_body_bytes(self) -> int:
        """Memory for the bodies of prediction requests."""
        return self.predict_memory_bytes // 2

    @property
    def predict_decode_bytes(self) -> int:
        """Memory for decoding large images of predictions."""
        return self.predict_memory_bytes - self.predict_body_bytes

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the embedded Redis; in the home folder unless that path is too long for a socket."""
        path = self.home / "redis" / "redis.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"loupe-{os.getuid()}-{name}" / "redis.sock"

    @property
    def broker_url(self) -> str:
        """The Redis server as Celery names it."""
        if self.redis_url:
            return self.redis_url
        return f"redis+socket://{quote(str(self.redis_socket))}"

    @property
    def redis_client_url(self) -> str:
        """The Redis server as redis-py names it."""
        return self.redis_url or f"unix://{quote(str(self.redis_socket))}"


SEPARATORS = {
    "dataset_roots": os.pathsep,
    **dict.fromkeys(("allowed_hosts", "webhook_hosts", "cors_origins", "pinned"), ","),
}


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as the children read them, whichever way they came to this process."""
    values = settings.model_dump(mode="python")
    environment = {}
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, tuple):
            text = SEPARATORS[name].join(map(str, value))
        elif isinstance(value, SecretStr):
            text = value.get_secret_value()
        else:
            text = str(value)
        environment[f"LOUPE_{name.upper()}"] = text
    return environment


class Address(BaseSettings):
    """Where `loupe up` listens: these settings alone, for commands that need no other to be valid."""

    model_config = SettingsConfigDict(
        env_prefix="LOUPE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = Settings.model_fields["host"].default
    port: int = Field(Settings.model_fields["port"].default, ge=0, le=65535)
