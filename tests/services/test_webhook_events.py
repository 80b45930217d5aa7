"""What happens is written for the webhooks that take it, in the transaction that makes it so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select

from app.context import AppContext
from app.jobs import claims
from app.jobs.kinds.training import Training
from app.models import Job, WebhookEvent
from app.schemas.model import AliasMoveCreate
from app.schemas.webhook_events import EVENT_KINDS
from app.services import aliases, job_lifecycle, webhook_events
from app.services.sweep_progress import advance
from tests.running import import_pictures
from tests.services.rows import add_job, leave_result, read_job, train
from tests.services.sweep_runs import add_sweep
from tests.services.webhook_rows import add_webhook, deliveries, happen, payloads

GATED: dict[str, Any] = {"gate_rules": {"min_accuracy": 0.9}}
ERROR = {"code": "crashed", "title": "The process crashed", "detail": "d", "hint": None}


def end_a_training(context: AppContext, folder: Path) -> None:
    train(context, folder)


def end_a_training_below_its_gate(context: AppContext, folder: Path) -> None:
    train(context, folder, **GATED)


def fail_an_import(context: AppContext, _folder: Path) -> None:
    claim = claims.claim(context, add_job(context, kind="import"), "a")
    assert claim is not None
    claims.fail(context, claim, ERROR)


WAYS: dict[str, Any] = {
    "job.ended": end_a_training,
    "sweep.ended": lambda context, _: advance(context, add_sweep(context)),
    "champion.moved": end_a_training,
    "model.failed_gate": end_a_training_below_its_gate,
    "dataset.failed": fail_an_import,
    "disk.low": lambda context, _: happen(context),
}


def test_every_type_is_walked() -> None:
    # These have tests of their own, below, in tests/jobs and in test_model_router.
    others = {"dataset.ready", "webhook.disabled", "model.not_loaded"}
    assert EVENT_KINDS.keys() == WAYS.keys() | others


@pytest.mark.parametrize("event_type", WAYS)
def test_only_a_webhook_that_takes_a_type_is_sent_it(
    any_context: AppContext, tmp_path: Path, event_type: Any
) -> None:
    takes, all_types = add_webhook(any_context, events=[event_type]), add_webhook(any_context)
    others = [name for name in EVENT_KINDS if name != event_type]
    other = add_webhook(any_context, events=others)
    disabled = add_webhook(any_context, is_enabled=False)
    elsewhere = add_webhook(any_context, products=["another"])
    WAYS[event_type](any_context, tmp_path)
    events = {row["type"] for row in payloads(any_context)}
    assert event_type in events
    assert len(deliveries(any_context, takes)) == 1
    assert len(deliveries(any_context, all_types)) == len(payloads(any_context))
    assert len(deliveries(any_context, other)) == len(events) - 1
    assert deliveries(any_context, disabled) == deliveries(any_context, elsewhere) == []


def test_an_event_of_no_product_goes_to_webhooks_without_products_alone(context: AppContext) -> None:
    bound = add_webhook(context, products=["screws"])
    happen(context)
    add_webhook(context)
    happen(context)
    assert deliveries(context, bound) == []
    assert len(payloads(context)) == 1


def test_where_no_webhook_takes_it_nothing_is_written(context: AppContext, tmp_path: Path) -> None:
    add_webhook(context, events=["disk.low"])
    add_webhook(context, is_enabled=False)
    written: list[str] = []
    event.listen(
        context.db.engine, "before_cursor_execute", lambda _c, _cursor, text, *_: written.append(text)
    )
    train(context, tmp_path)
    assert any("UPDATE jobs" in text for text in written)
    assert not [text for text in written if "webhook" in text and not text.startswith("SELECT")]


def test_a_training_says_how_it_ended_and_what_answers_now(context: AppContext, tmp_path: Path) -> None:
    add_webhook(context)
    job = train(context, tmp_path)
    model = job.id.replace("job_", "mdl_")
    assert payloads(context) == [
        {
            "type": "champion.moved",
            "product": job.product_id,
            "model": model,
            "version": 1,
            "model_before": None,
            "moved_by": job.id,
            "is_override": False,
            "links": {"product": f"/products/{job.product_id}", "model": f"/models/{model}"},
        },
        {
            "type": "job.ended",
            "job": job.id,
            "kind": "training",
            "product": job.product_id,
            "status": "succeeded",
            "dataset": job.dataset_id,
            "model": model,
            "error": None,
            "links": {"job": f"/jobs/{job.id}"},
        },
    ]


def test_a_model_below_its_gate_is_said_with_the_reason(context: AppContext, tmp_path: Path) -> None:
    add_webhook(context, events=["model.failed_gate", "champion.moved"])
    job = train(context, tmp_path, **GATED)
    [said] = payloads(context)
    assert said["model"] == job.id.replace("job_", "mdl_")
    assert said["reasons"] == (job.gate or {})["reasons"]
    assert "below min_accuracy 0.9" in said["reasons"][0]
    train(context, tmp_path, product_id=job.product_id, dataset_id=job.dataset_id,
          gate_rules={"min_accuracy": 0.9, "on_failure": "discard"})  # fmt: skip
    assert payloads(context)[1]["model"] is None


def test_a_champion_that_a_person_moves_is_said_and_another_alias_is_not(
    context: AppContext, tmp_path: Path
) -> None:
    job = train(context, tmp_path, **GATED)
    model = job.id.replace("job_", "mdl_")
    add_webhook(context)
    for alias in ("canary", "champion", "champion"):
        aliases.put_alias(context, job.product_id, alias, AliasMoveCreate(model=model, override=True))
    [said] = payloads(context)
    assert (said["type"], said["model"], said["moved_by"]) == ("champion.moved", model, None)
    assert said["is_override"] is True


def test_an_import_that_fails_says_so_of_its_dataset_and_of_the_jobs_that_waited(context: AppContext) -> None:
    add_webhook(context)
    importing = add_job(context, kind="import")
    job = read_job(context, importing)
    waiting = add_job(context, product_id=job.product_id, dataset_id=job.dataset_id)
    claim = claims.claim(context, importing, "a")
    assert claim is not None
    claims.fail(context, claim, ERROR)
    said = [(row["type"], row.get("job"), row["error"]["code"]) for row in payloads(context)]
    assert sorted(said) == sorted(
        [
            ("dataset.failed", importing, "crashed"),
            ("job.ended", importing, "crashed"),
            ("job.ended", waiting, "conflict"),
        ]
    )
    assert payloads(context)[0]["error"] == {"code": "crashed", "title": "The process crashed"}


def test_a_cancelled_job_ends_once(context: AppContext) -> None:
    add_webhook(context)
    job = add_job(context)
    job_lifecycle.cancel_job(context, job)
    job_lifecycle.cancel_job(context, job)
    assert [(row["job"], row["status"], row["error"]) for row in payloads(context)] == [
        (job, "cancelled", None)
    ]


def test_a_dataset_that_was_imported_is_ready(context: AppContext, client: TestClient) -> None:
    add_webhook(context, events=["dataset.ready"])
    dataset = import_pictures(client, context, "squares")
    [said] = payloads(context)
    assert (said["dataset"], said["product"]) == (dataset, "squares")
    assert said["items"] == client.get(f"/datasets/{dataset}").json()["items"]


def test_what_is_rolled_back_is_not_sent(context: AppContext, tmp_path: Path) -> None:
    """A worker whose claim is lost ends nothing."""
    add_webhook(context)
    claim = claims.claim(context, add_job(context), "a")
    assert claim is not None
    result = leave_result(tmp_path / "result")
    with context.db.write() as session:
        session.get_one(Job, claim.job_id).fence += 1
    with pytest.raises(claims.ClaimLostError):
        Training().finish(context, claim, result)
    assert payloads(context) == []

    def fails() -> None:
        with context.db.write() as session:
            webhook_events.disk_low(session, "here", free_bytes=1, threshold_bytes=2)
            session.flush()
            assert session.scalar(select(func.count(WebhookEvent.id))) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert payloads(context) == []
