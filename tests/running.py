"""Products with images, and running their queued jobs in this process.

A job runs by the real claim, supervisor and child, without Celery in between.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx2 as httpx
from sqlalchemy import select

from app.context import AppContext
from app.host.processes import process_owner
from app.jobs import claims
from app.models import Job
from app.workers.supervisor import Supervisor
from tests.pictures import make_files, make_zip

TINY = {"epochs": 2, "batch_size": 8, "image_size": 16, "augmentation": "none", "learning_rate": 0.01}


def run_queued(context: AppContext) -> list[str]:
    """Runs every queued job to its end, oldest first; returns their ids."""
    done: list[str] = []
    while True:
        with context.db.read() as session:
            job_id = session.scalar(select(Job.id).where(Job.status == "queued").order_by(Job.id).limit(1))
        if job_id is None:
            return done
        claim = claims.claim(context, job_id, process_owner())
        assert claim is not None
        Supervisor(context, claim, threading.Event()).run()
        done.append(job_id)


def upload_pictures(
    client: httpx.Client, product: str, files: dict[str, bytes] | None = None, **settings: Any
) -> dict[str, Any]:
    """Makes a product and uploads images to it; returns the dataset, which waits for its import."""
    client.post("/products", json={"id": product, **settings}).raise_for_status()
    archive = make_zip(make_files() if files is None else files)
    answer = client.post(f"/products/{product}/datasets", files={"file": ("pictures.zip", archive)})
    assert answer.status_code == 202, answer.text
    dataset: dict[str, Any] = answer.json()
    return dataset


def import_pictures(
    client: httpx.Client,
    context: AppContext,
    product: str,
    files: dict[str, bytes] | None = None,
    **settings: Any,
) -> str:
    """Makes a product with a dataset that is imported here; returns the dataset's id."""
    dataset: str = upload_pictures(client, product, files, **settings)["id"]
    run_queued(context)
    return dataset


def all_events(client: Any, job: str) -> list[dict[str, Any]]:
    """Every event of a job, page by page: a fast machine fills several before anybody can stop it."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.get(f"/jobs/{job}/events?limit=100{after}").json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['next_cursor']}"
