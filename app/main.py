"""The web application: lifespan, routers, error handlers, nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app import __version__
from app.api import (
    api_keys,
    audit,
    batch_predictions,
    dataset_items,
    dataset_versions,
    datasets,
    evaluations,
    exports,
    formats,
    health,
    inference_protocol,
    installation,
    job_records,
    jobs,
    metrics,
    model_files,
    models,
    pages,
    predict,
    products,
    resumable_uploads,
    session,
    similar_images,
    sweeps,
    ui,
    webhooks,
    workers,
)
from app.api.body_memory import BodyMemoryMiddleware
from app.api.cors import OriginsMiddleware
from app.api.document import DocumentedAPI
from app.api.head import HeadMiddleware
from app.api.limits import LimitHeadersMiddleware
from app.api.measurements import Measurements
from app.api.middleware import BodyLimitMiddleware, MeasuringMiddleware, RequestIdMiddleware
from app.api.paths import PathMiddleware
from app.api.problems import install_problem_handlers
from app.api.proxies import ProxyMiddleware
from app.api.rates import Rates
from app.api.recording import RecordingMiddleware
from app.api.sites import IsolationMiddleware, SitesMiddleware
from app.api.upload_thread import sending_uploads
from app.changes import watching
from app.config import Settings
from app.context import AppContext
from app.inference.cache import ModelCache
from app.inference.turns import Turns
from app.models import alias, product
from app.services import key_ring
from app.services.audit_trail import Trail
from app.services.key_ring import KeyRing
from app.services.model_router import ModelRouter
from app.services.prediction_counts import Counter
from app.services.products import read_ids

RESOURCES = (
    *(
        health,
        formats,
        products,
        resumable_uploads,
        datasets,
        dataset_items,
        dataset_versions,
        exports,
        similar_images,
    ),
    *(jobs, job_records, sweeps, evaluations, models, model_files, predict),
    *(
        inference_protocol,
        batch_predictions,
        workers,
        installation,
        metrics,
        api_keys,
        session,
        webhooks,
        audit,
    ),
)

DESCRIPTION = """Train, prove and serve image classifiers, one per product.

Make a product, import its images, start a job, follow its metrics, then predict. Errors are problem
documents (RFC 9457) with a hint. Every path also exists under `/v1`."""


def create_app(settings: Settings) -> FastAPI:
    """The API of one Loupe. Nothing is opened before the application starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = AppContext.open(settings)
        app.state.context = context
        app.state.model_cache = cache = ModelCache(
            max_bytes=settings.model_cache_bytes, interpreters=settings.inference_threads or None
        )
        app.state.model_router = router = ModelRouter(context, cache, settings.pinned)
        context.changes.register(alias.TOPIC, router.refresh)
        app.state.turns = Turns(
            threads=settings.inference_threads or None, decode_bytes=settings.predict_decode_bytes
        )
        app.state.key_ring = ring = KeyRing(context)
        context.changes.register(key_ring.TOPIC, ring.load)
        context.changes.register(
            product.TOPIC, lambda: app.state.measurements.keep_products(read_ids(context))
        )

        app.state.prediction_counter = counter = Counter()

        def write_what_came() -> None:
            trail.write(context.db)
            ring.write_uses()
            counter.write_now_and_then(context.db)
            router.refresh_now_and_then()

        app.state.rates = Rates(settings)
        async with AsyncExitStack() as closing:
            closing.callback(context.close)
            closing.callback(cache.close)
            closing.push_async_callback(app.state.turns.close)
            closing.callback(trail.close, context.db)
            closing.callback(counter.close, context.db)
            closing.enter_context(watching(context.changes, also=write_what_came))
            if settings.storage_url is not None:
                closing.enter_context(sending_uploads(context))
            yield
            await app.state.rates.close()

    app = DocumentedAPI(
        title="Loupe",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        openapi_url=None,  # FastAPI's own pages ask for no key, and load their scripts from elsewhere:
        docs_url=None,  # app/api/pages.py
        redoc_url=None,
    )
    install_problem_handlers(app)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware, settings=settings)
    app.add_middleware(BodyMemoryMiddleware, total=settings.predict_body_bytes)
    app.add_middleware(SitesMiddleware, settings=settings)
    app.add_middleware(LimitHeadersMiddleware)
    app.add_middleware(RecordingMiddleware)
    app.add_middleware(RequestIdMiddleware)
    if settings.cors_origins:
        app.add_middleware(OriginsMiddleware, origins=settings.cors_origins)
    app.add_middleware(IsolationMiddleware, settings=settings)
    app.state.measurements = Measurements()
    app.state.audit_trail = trail = Trail(settings)
    app.add_middleware(MeasuringMiddleware, measurements=app.state.measurements)
    app.add_middleware(PathMiddleware)
    app.add_middleware(ProxyMiddleware, settings=settings)
    # Not by include_router, which matches each path anew at every level: a quarter of a prediction's time.
    app.router.routes += [route for resource in (*RESOURCES, ui, pages) for route in resource.router.routes]
    return app
