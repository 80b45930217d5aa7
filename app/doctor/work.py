"""Workers and jobs: whether anybody serves the queues, and whether anything waits in vain."""

from __future__ import annotations

from sqlalchemy import select

from app import __version__
from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.job_queue import GPU_QUEUE, QUEUES, TASK_QUEUE, TRAINING_QUEUE
from app.models import Job
from app.models.base import db_now
from app.services.statistics import gather_statistics
from app.services.workers import list_workers

LONG_WAIT_SECONDS = 3600.0


def check_workers(installation: Installation) -> list[Finding]:
    workers = list_workers(installation.context, limit=100, after=None).data
    alive = [worker for worker in workers if worker.status == "alive"]
    findings = []
    # A worker is told by the queue that it was started for; one for GPUs takes what may run on either, too.
    for queue, servers in ((TRAINING_QUEUE, (TRAINING_QUEUE, GPU_QUEUE)), (TASK_QUEUE, (TASK_QUEUE,))):
        if not any(worker.queue in servers for worker in alive):
            detail = f"No worker is registered and alive that serves the queue {queue}."
            hint = f"`loupe up` starts all; by hand `loupe worker --queue {queue}`; see `docker compose ps`."
            findings.append(failed("workers", detail, hint))
    for worker in workers:
        where = f"Worker {worker.id} ({worker.queue} on {worker.host}, process {worker.pid})"
        if worker.status == "lost":
            hint = "Its jobs have gone to others. Memory is the usual reason: see its log and the system's."
            findings.append(
                warning("workers", f"{where} fell silent {worker.beat_age_seconds:.0f} s ago.", hint)
            )
        elif worker.version != __version__:
            detail = f"{where} runs version {worker.version}, this is {__version__}."
            findings.append(
                warning("workers", detail, "Finish the upgrade: start it anew with this version.")
            )
    counts = {queue: sum(worker.queue == queue for worker in alive) for queue in QUEUES}
    told = ", ".join(f"{count} {queue}" for queue, count in counts.items() if count)
    return findings or [ok("workers", f"Alive: {told}.")]


def check_jobs(installation: Installation) -> list[Finding]:
    lease = installation.settings.lease_seconds
    findings = []
    with installation.db.read() as session:
        now = session.scalar(select(db_now())) or 0.0
        silent = select(Job.id, Job.lease_until).where(
            Job.status == "running", Job.lease_until < now - 2 * lease
        )
        for job_id, until in session.execute(silent.limit(10)):
            seconds = now - (until or 0.0) + lease
            detail = f"Job {job_id} runs by its record, but its worker fell silent {seconds:.0f} s ago."
            hint = "Any living worker gives it back within two minutes: start one, see its log for `reaper`."
            findings.append(failed("jobs", detail, hint))
    found = gather_statistics(installation.context)
    for queue, seconds in found.oldest_queued_seconds.items():
        if seconds > LONG_WAIT_SECONDS:
            detail = f"A job in the queue {queue} has waited for {seconds / 3600:.1f} hours."
            hint = "Is a worker alive and free? `loupe workers`, and `loupe job list --status queued`."
            findings.append(warning("jobs", detail, hint))
    counts = dict.fromkeys(("running", "queued", "failed"), 0)
    for (_, status), count in found.jobs.items():
        counts[status] = counts.get(status, 0) + count
    told = f"{counts['running']} running, {counts['queued']} queued, {counts['failed']} failed."
    return findings or [ok("jobs", told)]
