"""``loupe dataset examine``"""

from __future__ import annotations

from app.cli.client import Client, quoted
from app.cli.console import note, say_json
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Server, examples

examine_epilog = examples("loupe dataset examine dst_…")


def examine_dataset(dataset: DatasetId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Look at all images of a dataset with a pretrained network, and keep their feature vectors.

    What is there already is not computed again.
    """
    client = Client(server)
    path = f"/datasets/{quoted(dataset)}"
    require_success(follow_job(client, client.post(f"{path}/examinations")["id"], label="examining"))
    examined = client.get(path)
    if as_json:
        say_json(examined)
    else:
        note(f"Dataset {dataset} is examined by {examined['examination']['network']}.")
