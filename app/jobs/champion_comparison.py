"""The champion is asked about the test images of a model that a training has made, before its job ends.

What it answers lies in the folder of the attempt, by the champion's id: a champion that moves meanwhile is
asked too. Another attempt asks again, and finds the same.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from app.artifacts import Serving, open_artifact
from app.child import write_message
from app.context import AppContext
from app.datasets.manifest import MANIFEST
from app.errors import StorageDamagedError
from app.evaluation.comparison_spec import ChampionAnswer, ComparisonSpec, Learned
from app.evaluation.files import PREDICTIONS
from app.jobs.claims import Claim
from app.jobs.kinds.base import ChildFailedError, Preparation, RunChild
from app.jobs.kinds.evaluation import new_evaluation_folder
from app.jobs.progress import report
from app.jobs.registration import new_model_folder
from app.models import Job
from app.schemas.job_payloads import TrainingPayload
from app.schemas.message import parse_message
from app.schemas.progress_lines import StageLine
from app.services import promotion
from app.services.dataset_states import tested_dataset
from app.services.promotion import Rival
from app.storage.extractor import download_examination
from app.storage.home import Storage
from app.storage.model_folders import download_model
from app.training.result import TrainingResult

MODULE = "app.evaluation.comparison"


def prepare_comparison(context: AppContext, claim: Claim, result: TrainingResult) -> Preparation | None:
    """How to ask the champion; None where there is none that has to be asked, or it was asked before."""
    with context.db.read() as session:
        job = session.get_one(Job, claim.job_id)
        figures = result.evaluation.model_dump(mode="json")
        rival = promotion.find_rival(session, job, figures, read_serving(context, claim, result))
    if rival is None or find_answer(context, claim, rival.model) is not None:
        return None
    return partial(_ask, context, claim, result, job, rival)


def find_answer(context: AppContext, claim: Claim, champion: str) -> ChampionAnswer | None:
    """What the champion of this id has answered in this attempt, if it was asked."""
    try:
        return parse_message(ChampionAnswer, _answer_file(context, claim, champion).read_bytes(), champion)
    except FileNotFoundError:
        return None


def read_serving(context: AppContext, claim: Claim, result: TrainingResult) -> Serving | None:
    """How the model of a training is served, from its artifact, published or not; None: there is none."""
    if result.artifact is None:
        return None
    published = new_model_folder(context.storage, claim)
    folder = published if published.exists() else result.artifact
    return open_artifact(folder, verify=False).manifest.serving


def _ask(
    context: AppContext, claim: Claim, result: TrainingResult, job: Job, rival: Rival, run: RunChild
) -> None:
    """Raises ClaimLostError, and UnavailableError while the database or the storage does not answer."""
    report(context, claim, [StageLine(stage="comparing")])
    storage = context.storage
    known = set(result.evaluation.confusion_matrix.labels) & set(rival.labels)
    published = new_evaluation_folder(storage, claim, claim.job_id)
    try:
        download_model(storage, storage.absolute(rival.folder), rival.digest)
    except StorageDamagedError as error:
        answer = ChampionAnswer(is_broken=True, reason=error.detail)
    else:
        spec = ComparisonSpec(
            champion=storage.absolute(rival.folder),
            champion_digest=rival.digest,
            image_root=storage.images,
            dataset=storage.dataset(tested_dataset(job)),
            class_map=TrainingPayload.model_validate(job.payload).class_map,
            answers=(published if published.exists() else result.verification) / PREDICTIONS,
            classes=tuple(sorted(known)),
            learned=Learned(dataset=storage.dataset(job.dataset), split=storage.job_split(job.id)),
            champion_learned=_find_learned(storage, rival),
        )
        answer = _run(run, spec)
    path = _answer_file(context, claim, rival.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_message(path, answer)


def _run(run: RunChild, spec: ComparisonSpec) -> ChampionAnswer:
    """Where the comparison fails, the training has not: its end says what happened."""
    try:
        return run(MODULE, spec, ChampionAnswer)
    except ChildFailedError as error:
        return ChampionAnswer(reason=str(error))


def _find_learned(storage: Storage, rival: Rival) -> Learned | None:
    """What the champion was trained on, where that is still known here."""
    if rival.dataset is None:
        return None
    folder, split = storage.dataset(rival.dataset), storage.job_split(rival.job)
    try:
        download_examination(storage, rival.dataset)
        storage.remote.download(split)
    except StorageDamagedError:
        return None
    if not ((folder / MANIFEST).is_file() and split.is_file()):
        return None
    return Learned(dataset=folder, split=split)


def _answer_file(context: AppContext, claim: Claim, champion: str) -> Path:
    return context.storage.attempt(claim.job_id, claim.fence) / f"champion-{champion}.json"
