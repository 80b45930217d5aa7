"""Every kind of job is known to workers, clients, queues, metrics, the command line and the documents."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import String
from typer.testing import CliRunner

from app.child import ExitCode
from app.cli.root import app as cli
from app.context import AppContext
from app.errors import ConflictError
from app.job_queue import QUEUES, queue_for
from app.jobs import claims, reaper
from app.jobs.kinds.registry import KINDS
from app.main import create_app
from app.models import Job
from app.schemas.job_kinds import DEVICE_KINDS, JOB_KINDS, JobStage
from app.schemas.message import Message
from app.services import job_lifecycle, jobs
from app.services.statistics import gather_statistics
from tests.services.rows import add_job, change_job, expire

ROOT = Path(__file__).resolve().parents[2]


def longest(column: str) -> int:
    """The characters that this column of a job holds."""
    kind = Job.__table__.c[column].type
    assert isinstance(kind, String)
    assert kind.length is not None
    return kind.length


def test_workers_and_clients_know_the_same_kinds() -> None:
    assert KINDS.keys() == JOB_KINDS.keys()
    assert all(name == kind.name for name, kind in KINDS.items())
    assert all(name == kind.name for name, kind in JOB_KINDS.items())


@pytest.mark.parametrize("name", JOB_KINDS)
def test_a_kind_has_a_child_a_result_a_queue_and_its_words(name: str) -> None:
    kind, known = KINDS[name], JOB_KINDS[name]
    assert importlib.util.find_spec(f"{kind.module}.__main__")
    assert issubclass(kind.result_type, Message)
    assert queue_for(name) in QUEUES
    assert known.noun.split()[0] in ("a", "an")
    assert known.plural.replace(" ", "").isalpha()
    assert len(name) <= longest("kind"), "PostgreSQL would refuse the row"
    assert all(len(stage) <= longest("stage") for stage in get_args(JobStage))


@pytest.mark.parametrize("name", JOB_KINDS)
def test_a_kind_is_named_in_the_api_the_metrics_the_command_line_and_the_documents(
    client: Any, name: str
) -> None:
    document = create_app(client.app.state.context.settings).openapi()
    parameters = document["paths"]["/jobs"]["get"]["parameters"]
    (kind,) = [parameter for parameter in parameters if parameter["name"] == "kind"]
    assert name in str(kind["schema"])
    assert f'kind="{name}"' in client.get("/metrics").text
    assert name in CliRunner().invoke(cli, ["job", "list", "--help"]).output
    assert f"`{name}`" in (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_only_what_uses_a_device_waits_for_one() -> None:
    for name in JOB_KINDS:
        queues = {queue_for(name, device) for device in ("auto", "cpu", "gpu")}
        assert len(queues) == (3 if name in DEVICE_KINDS else 1)
    for nobody in (("of-tomorrow", "auto"), ("training", "abacus")):
        with pytest.raises(KeyError):
            queue_for(*nobody)


def test_a_job_of_a_newer_releases_kind_is_left_to_that_release(any_context: AppContext) -> None:
    job = add_job(any_context)
    change_job(any_context, job, kind="of-tomorrow")
    assert claims.claim(any_context, job, "a") is None
    assert claims.list_waiting(any_context, QUEUES) == []
    assert jobs.get_job(any_context, job).kind == "of-tomorrow"
    with pytest.raises(ConflictError, match="does not know jobs of the kind 'of-tomorrow'"):
        job_lifecycle.pause_job(any_context, job)
    assert gather_statistics(any_context).jobs["of-tomorrow", "queued"] == 1
    change_job(any_context, job, status="paused")
    with pytest.raises(ConflictError, match="does not know jobs of the kind 'of-tomorrow'"):
        job_lifecycle.resume_job(any_context, job)


def test_a_lost_job_of_a_newer_releases_kind_keeps_no_other_from_being_reclaimed(
    any_context: AppContext,
) -> None:
    newer, lost = (add_job(any_context) for _ in range(2))
    for job in (newer, lost):
        assert claims.claim(any_context, job, "a")
        expire(any_context, job)
    change_job(any_context, newer, kind="of-tomorrow", stage="dreaming")
    assert reaper.reclaim_lost_jobs(any_context, is_gone=lambda _: False, trust_expiry=True) == [lost]
    shown = jobs.get_job(any_context, newer)
    assert (shown.status, shown.stage) == ("running", "dreaming")


def test_no_code_decides_by_a_kinds_name() -> None:
    """What differs between kinds is data of the kind: a comparison with a name would miss the next kind."""
    # A verb of one kind of job refuses the others; the command line prints what it knows of a training.
    may_ask = {"kinds", "cli", "batch_predictions.py", "dataset_items.py", "evaluations.py", "exports.py"}
    may_ask |= {"model_exports.py"}
    names = "|".join(JOB_KINDS)
    decision = re.compile(rf'\bkind"?\]? (==|!=) "({names})"|case "({names})"')
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "app").rglob("*.py")
        if not may_ask & set(path.parts)
        for match in decision.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_child_refuses_a_spec_that_lacks_something_and_ignores_what_it_does_not_know(
    tmp_path: Path,
) -> None:
    (tmp_path / "spec.json").write_text('{"kind": "export", "mood": "fine"}')
    command = [sys.executable, "-m", "app.datasets", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.wait(60) == ExitCode.FAILED  # while the pipe is open: its end would end the child
    error = (tmp_path / "error.json").read_text(encoding="utf-8")
    assert "spec.json is not valid at export/dataset" in error


def test_a_jobs_dataset_is_named_only_where_it_has_one() -> None:
    assert Job(dataset_id="dst_1").dataset == "dst_1"
    with pytest.raises(AssertionError):
        assert Job().dataset
