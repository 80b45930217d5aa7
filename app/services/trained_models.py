"""Models and aliases: read the registry, and find the model that a prediction asks for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import Decision
from app.context import AppContext
from app.errors import ConflictError, InvalidRequestError, NotFoundError
from app.inference.decision import choose_threshold, images_needed
from app.models import Alias, Job, Product, TrainedModel
from app.models.alias import CHAMPION
from app.schemas import model as schemas
from app.schemas.common import Page
from app.schemas.job_payloads import Payload
from app.services.job_states import TERMINAL
from app.services.jobs import require_job
from app.services.pages import fetch_page
from app.services.products import promised_error, require_product

VERSION = re.compile(r"[1-9][0-9]*")
MAX_VERSION = 2**31 - 1
"""The most that the column holds."""
MAX_VERSION_DIGITS = 10
_DECISION = TypeAdapter(Decision)


@dataclass(frozen=True)
class ModelChoice:
    """The model that answers a request, and the alias that led to it if one did.

    ``max_error``: the share of accepted answers that may be wrong, as its product promises.
    """

    id: str
    product: str
    version: int
    digest: str
    folder: str
    alias: str | None
    max_error: float

    @classmethod
    def of(cls, model: TrainedModel, alias: str | None, max_error: float) -> ModelChoice:
        return cls(model.id, model.product_id, model.version, model.digest, model.folder, alias, max_error)


def list_models(
    context: AppContext, *, product: str | None, job: str | None, limit: int, after: str | None
) -> Page[schemas.Model]:
    query = select(TrainedModel)
    if product is not None:
        query = query.where(TrainedModel.product_id == product)
    if job is not None:
        query = query.where(TrainedModel.job_id == job)
    with context.db.read() as session:
        return fetch_page(
            session, query, TrainedModel.id, lambda row: _to_schema(session, row), limit=limit, after=after
        )


def get_model(context: AppContext, model_id: str) -> schemas.Model:
    with context.db.read() as session:
        return _to_schema(session, require_model(session, model_id))


def models_read_by(job: Job) -> set[str]:
    """The models that a job evaluates or starts from."""
    named = (Payload.model_validate(job.payload).model, (job.hyperparameters or {}).get("pretrained"))
    return {name for name in named if name is not None and name.startswith("mdl_")}


def jobs_by_model(session: Session, product_id: str) -> dict[str, str]:
    """The models that jobs which have not ended evaluate or start from, each with one of these jobs."""
    jobs = session.scalars(select(Job).where(Job.product_id == product_id, Job.status.not_in(TERMINAL)))
    return {model: job.id for job in jobs for model in models_read_by(job)}


def choose_model(
    context: AppContext, *, product: str | None, job: str | None, model: str | None
) -> ModelChoice:
    """``model``, or the model of ``job``, or the one behind ``product``, ``product@alias``, ``product@3``."""
    if product is None and job is None and model is None:
        raise InvalidRequestError(
            "Say which model is asked: give `product`, `job` or `model`.",
            hint="`GET /products` lists products, `GET /models` models.",
        )
    with context.db.read() as session:
        if model is not None:
            row, alias = require_model(session, model), None
        elif job is not None:
            row, alias = _model_of_job(session, job), None
        else:
            row, alias = _model_of_product(session, str(product))
        is_other = job is not None and row.job_id != job
        if product is not None and (model is not None or job is not None):
            # An alias that is named beside a model must lead there too; a product alone need only have it.
            named, at, _ = product.partition("@")
            other = _model_of_product(session, product)[0].id if at else row.id
            is_other = is_other or row.product_id != named or other != row.id
        if is_other:
            raise InvalidRequestError(
                f"Model {row.id} is of product {row.product_id!r} and job {row.job_id}, not as asked.",
                hint="Give only one of `product`, `job` and `model`.",
            )
        return ModelChoice.of(row, alias, promised_error(session.get_one(Product, row.product_id).max_error))


def require_model(session: Session, model_id: str) -> TrainedModel:
    model = session.get(TrainedModel, model_id)
    if model is None:
        raise NotFoundError(f"There is no model {model_id!r}.", hint="`GET /models` lists them.")
    return model


def _model_of_job(session: Session, job_id: str) -> TrainedModel:
    job = require_job(session, job_id)
    model = session.scalar(select(TrainedModel).where(TrainedModel.job_id == job_id))
    if model is None:
        raise ConflictError(
            f"Job {job_id} is {job.status} and has no model.",
            hint="See the job's `gate` and `error`."
            if job.status in TERMINAL
            else "Wait until it has succeeded.",
        )
    return model


def _model_of_product(session: Session, product: str) -> tuple[TrainedModel, str | None]:
    product_id, at, name = product.partition("@")
    name = name if at else CHAMPION
    require_product(session, product_id)
    if VERSION.fullmatch(name):
        return _model_of_version(session, product_id, name), None
    alias = session.get(Alias, (product_id, name))
    if alias is not None:
        return session.get_one(TrainedModel, alias.model_id), name
    if name == CHAMPION:
        raise ConflictError(
            f"Product {product_id!r} has no {name} yet.",
            hint="Train a model that passes the product's gate: `POST /jobs`. "
            f"Or choose a model by hand: `PUT /products/{product_id}/aliases/{name}`.",
        )
    of_product = select(Alias.name).where(Alias.product_id == product_id)
    there = session.scalars(of_product.order_by(Alias.name)).all()
    raise NotFoundError(
        f"Product {product_id!r} has no alias {name!r}.",
        hint=f"Its aliases: {', '.join(there) or 'none'}. Write {product_id}@ALIAS, {product_id}@3 for "
        f"version 3, or {product_id} for its champion.",
    )


def _model_of_version(session: Session, product_id: str, name: str) -> TrainedModel:
    model = None
    # Python reads no number of thousands of digits.
    version = int(name) if len(name) <= MAX_VERSION_DIGITS else None
    if version is not None and version <= MAX_VERSION:
        model = session.scalar(
            select(TrainedModel).where(TrainedModel.product_id == product_id, TrainedModel.version == version)
        )
    if model is None:
        raise NotFoundError(
            f"Product {product_id!r} has no model of version {name[:20]}.",
            hint=f"`GET /models?product={product_id}` lists them.",
        )
    return model


def _to_schema(session: Session, model: TrainedModel) -> schemas.Model:
    aliases = session.scalars(select(Alias.name).where(Alias.model_id == model.id).order_by(Alias.name))
    return schemas.Model(
        id=model.id,
        product=model.product_id,
        version=model.version,
        job=model.job_id,
        dataset=model.dataset_id,
        network=model.network,
        labels=model.labels,
        aliases=list(aliases),
        passed_gate=model.passed_gate is not False,
        digest=model.digest,
        weights_sha256=model.weights_sha256,
        bytes=model.bytes,
        metrics=model.metrics,
        serving=model.serving,
        calibration=model.calibration and schemas.Calibration(**model.calibration),
        promise=_promise(model, promised_error(session.get_one(Product, model.product_id).max_error)),
        exports=[
            schemas.ModelExport(**{name: stored[name] for name in schemas.ModelExport.model_fields})
            for stored in (model.exports or {}).values()
        ],
        origin=schemas.ModelOrigin(**model.origin) if model.origin else None,
        created_at=model.created_at,
    )


def _promise(model: TrainedModel, max_error: float) -> schemas.ModelPromise | None:
    if model.decision is None:
        return None
    decision = _DECISION.validate_python(model.decision)
    threshold = choose_threshold(decision, max_error)
    is_kept = threshold is not None and threshold.max_error <= max_error
    return schemas.ModelPromise(
        max_error=max_error,
        promised=threshold.max_error if threshold is not None else None,
        probability=threshold.probability if threshold is not None else 0.0,
        similarity=decision.similarity,
        coverage=threshold.coverage if threshold is not None else 1.0,
        images_needed=None
        if is_kept
        else images_needed(max_error, tried=decision.tried, confidence_level=decision.confidence_level),
        thresholds=[schemas.Threshold(**asdict(one)) for one in decision.thresholds],
    )
