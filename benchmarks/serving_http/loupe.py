"""A Loupe with one product whose champion is the packaged model, without a training."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pydantic import SecretStr

from app import migrations
from app.artifacts import open_artifact
from app.config import Settings, environment_of
from app.context import AppContext
from app.launch.redis_server import redis_command
from app.models import Alias, Dataset, Job, Product, TrainedModel
from app.models.alias import CHAMPION
from app.models.base import new_id
from app.schemas.api_key import ApiKeyCreate
from app.schemas.limits import Limits
from app.services.api_keys import create_key
from benchmarks.serving_http.servers import Launch

_PRODUCT = "screws"
_FIRST_KEY = "first-key-of-the-benchmark"
_NEVER_REACHED = 10**9


def launch_bare(package: Path, home: Path, port: int) -> Launch:
    """No key is asked for, and nothing is counted."""
    return _launch(_settings(package, home, port, api_key=None), {})


def launch_guarded(package: Path, home: Path, port: int) -> Launch:
    """A key bound to the product, with a limit on its requests and one on its predictions."""
    settings = _settings(package, home, port, api_key=SecretStr(_FIRST_KEY))
    limits = Limits(requests_per_minute=_NEVER_REACHED, predictions_per_minute=_NEVER_REACHED)
    request = ApiKeyCreate(name="line 2", scopes=["predict"], products=[_PRODUCT], limits=limits)
    with closing(AppContext.open(settings)) as context:
        key = create_key(context, request).key
    return _launch(settings, {"Authorization": f"Bearer {key}"})


def _launch(settings: Settings, headers: dict[str, str]) -> Launch:
    """As `loupe up` starts the API and its Redis; the workers, which answer no prediction, stay out."""
    return Launch(
        [sys.executable, "-m", "app.launch.api"],
        environment=environment_of(settings),
        beside=[redis_command(settings)],
        path=f"/predict?product={_PRODUCT}",
        headers=headers,
    )


def _settings(package: Path, home: Path, port: int, api_key: SecretStr | None) -> Settings:
    settings = Settings(home=home, port=port, api_key=api_key, _env_file=None)
    with closing(AppContext.open(settings)) as context:
        migrations.upgrade(context.db)
        register(context, package / "artifact", _PRODUCT)
    return settings


def register(context: AppContext, source: Path, product: str) -> None:
    """Adds a product whose champion is a copy of the artifact in ``source``."""
    model, job, dataset = (new_id(prefix) for prefix in ("mdl", "job", "dst"))
    folder = context.storage.models / model / "0001"
    # Links: a hundred copies of one file would say the same.
    shutil.copytree(source, folder, copy_function=os.link)
    artifact = open_artifact(folder)
    manifest = artifact.manifest
    with context.db.write() as session:
        session.add(Product(id=product, name=product, last_model_version=1))
        session.flush()
        session.add(Dataset(id=dataset, product_id=product, status="ready", source="upload"))
        session.flush()
        session.add(Job(id=job, kind="training", product_id=product, dataset_id=dataset, status="succeeded"))
        session.flush()
        session.add(
            TrainedModel(
                id=model,
                product_id=product,
                job_id=job,
                dataset_id=dataset,
                version=1,
                network=manifest.network,
                folder=context.storage.relative(folder),
                digest=artifact.digest,
                weights_sha256=manifest.weights_sha256,
                bytes=sum(file.stat().st_size for file in folder.iterdir()),
                labels=list(manifest.labels),
                metrics={},
                serving=asdict(manifest.serving),
            )
        )
        session.flush()
        session.add(Alias(product_id=product, name=CHAMPION, model_id=model))
