"""``loupe workers``"""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from app.cli.client import Client
from app.cli.console import add_row, format_age, format_bytes, make_table, note, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server

app = typer.Typer(no_args_is_help=True, help="Workers: the processes that run the jobs.")


@app.command("list")
def list_workers(limit: Limit = 50, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the workers: whether they live, where, on which devices, and what they run.

    A worker that fell silent is shown as lost for a day; its jobs have gone to others.
    """
    page = Client(server).list_rows("/workers", limit)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "status",
        "host",
        ">pid",
        "queue",
        ">busy",
        "version",
        "devices",
        "runs",
        ">up",
        ">beat",
        drops=("pid", "up", "version", "devices", "host", "beat", "queue", "busy"),
    )
    for worker in page["data"]:
        is_alive = worker["status"] == "alive"
        add_row(
            table,
            worker["id"],
            Text(worker["status"], style="green" if is_alive else "red"),
            worker["host"],
            worker["pid"],
            worker["queue"],
            f"{len(worker['jobs'])}/{worker['concurrency']}",
            worker["version"],
            _describe_devices(worker["devices"]),
            ", ".join(_describe_job(job) for job in worker["jobs"]),
            format_age(worker["started_at"]),
            f"{worker['beat_age_seconds']:.0f} s",
        )
    show(table)
    if not page["data"]:
        note("No worker has registered. `loupe up` starts two; by hand: loupe worker --queue training|tasks")


def _describe_devices(devices: dict[str, Any]) -> str:
    parts = [f"{devices['cpu_cores']} cores", format_bytes(devices["memory_bytes"])]
    for gpu in devices["gpus"]:
        memory = f" ({format_bytes(gpu['memory_bytes'])})" if gpu["memory_bytes"] else ""
        parts.append(gpu["name"] + memory)
    return ", ".join(parts)


def _describe_job(job: dict[str, Any]) -> str:
    done = "" if job["fraction"] is None else f" {job['fraction']:.0%}"
    return f"{job['kind']} {job['id']}{done}"
