"""``loupe storage``: the storage that several hosts share."""

from __future__ import annotations

import typer

from app.cli.client import CommandError
from app.cli.console import note, say
from app.cli.options import Home, examples
from app.errors import DatasetError

app = typer.Typer(no_args_is_help=True, help="Storage: the shared one of several hosts (LOUPE_STORAGE_URL).")


@app.command("push", epilog=examples("LOUPE_STORAGE_URL=s3://loupe loupe storage push --home /data/loupe"))
def push(home: Home = None) -> None:
    """Move to a shared storage: copy there every file that the database refers to.

    Stop Loupe first, and start it with LOUPE_STORAGE_URL afterwards. May be repeated: what is there is kept.
    """
    from app.cli.service import load_settings
    from app.context import AppContext
    from app.services.storage import list_pushes
    from app.storage.home import check_at_start

    settings = load_settings(home=home)
    if settings.storage_url is None:
        raise CommandError("No shared storage is set.", hint="Set LOUPE_STORAGE_URL, as s3://BUCKET.")
    check_at_start(settings)
    context = AppContext.open(settings)
    missing = 0
    try:
        steps = list_pushes(context)
        for number, (name, upload) in enumerate(steps, start=1):
            try:
                upload()
                say(f"{number}/{len(steps)}  {name}")
            except (FileNotFoundError, DatasetError) as error:
                missing += 1
                note(f"{number}/{len(steps)}  {name} is not here: {error}")
    finally:
        context.close()
    if missing:
        raise CommandError(
            f"{missing} of {len(steps)} are in the database but not in {settings.home}.",
            hint="Run it on the host that has them; what was copied stays.",
        )
    say(f"{settings.storage_url} has all of it.")
