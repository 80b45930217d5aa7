"""``Loupe`` and ``AsyncLoupe``: the same verbs, blocking and to be awaited."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from loupe import verbs
from loupe.drivers import AsyncDriver, Driver
from loupe.http_requests import Address
from loupe.steps import Steps

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = 60.0


def _named(call: Callable[..., Any], verb: Callable[..., Any]) -> None:
    """Gives a method the signature and the words of its verb, for ``help()`` and for editors."""
    functools.update_wrapper(call, verb)
    signature = inspect.signature(verb)
    result = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
    call.__signature__ = signature.replace(return_annotation=result)  # type: ignore[attr-defined]


class _Blocking(Generic[P, T]):
    """A verb as a method that returns its result."""

    def __init__(self, verb: Callable[P, Steps[T]]) -> None:
        self._verb = verb

    def __get__(self, owner: _Owner, kind: type[_Owner] | None = None) -> Callable[P, T]:
        def call(*arguments: P.args, **named: P.kwargs) -> T:
            return owner.driver.run(self._verb(*arguments, **named))

        _named(call, self._verb)
        return call


class _Awaited(Generic[P, T]):
    """A verb as a method whose result is awaited."""

    def __init__(self, verb: Callable[P, Steps[T]]) -> None:
        self._verb = verb

    def __get__(
        self, owner: _AsyncOwner, kind: type[_AsyncOwner] | None = None
    ) -> Callable[P, Coroutine[Any, Any, T]]:
        async def call(*arguments: P.args, **named: P.kwargs) -> T:
            return await owner.driver.run(self._verb(*arguments, **named))

        _named(call, self._verb)
        return call


class _Owner:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver


class _AsyncOwner:
    def __init__(self, driver: AsyncDriver) -> None:
        self.driver = driver


class Products(_Owner):
    create = _Blocking(verbs.create_product)
    get = _Blocking(verbs.get_product)
    list = _Blocking(verbs.list_products)
    delete = _Blocking(verbs.delete_product)
    roll_back = _Blocking(verbs.roll_back_product)


class Datasets(_Owner):
    create = _Blocking(verbs.create_dataset)
    get = _Blocking(verbs.get_dataset)
    list = _Blocking(verbs.list_datasets)
    wait = _Blocking(verbs.wait_for_dataset)
    report = _Blocking(verbs.get_report)
    delete = _Blocking(verbs.delete_dataset)


class Jobs(_Owner):
    create = _Blocking(verbs.create_job)
    get = _Blocking(verbs.get_job)
    list = _Blocking(verbs.list_jobs)
    wait = _Blocking(verbs.wait_for_job)
    cancel = _Blocking(verbs.cancel_job)
    stop = _Blocking(verbs.stop_job)
    pause = _Blocking(verbs.pause_job)
    resume = _Blocking(verbs.resume_job)
    delete = _Blocking(verbs.delete_job)
    metrics = _Blocking(verbs.get_metrics)
    events = _Blocking(verbs.list_events)
    evaluation = _Blocking(verbs.get_evaluation)
    evaluate = _Blocking(verbs.evaluate_job)
    report = _Blocking(verbs.save_report)


class Models(_Owner):
    get = _Blocking(verbs.get_model)
    list = _Blocking(verbs.list_models)
    promote = _Blocking(verbs.promote_model)
    save = _Blocking(verbs.save_model)


class Loupe(_Owner):
    """A Loupe server. To be used by one thread at a time, and closed at the end: ``with Loupe(…) as loupe:``.

    ``server``: its address, else that of LOUPE_SERVER, else http://127.0.0.1:8000. ``api_key``: else that of
    LOUPE_API_KEY. ``patience``: seconds for which a request is tried again where the server is away. Every
    verb raises RefusedError for what the server refuses, and UnreachableError where none answers.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(Driver(Address.of(server, api_key, patience)))
        self.products = Products(self.driver)
        self.datasets = Datasets(self.driver)
        self.jobs = Jobs(self.driver)
        self.models = Models(self.driver)

    @property
    def server(self) -> str:
        """Its address."""
        return self.driver.address.url

    predict = _Blocking(verbs.predict)
    predict_many = _Blocking(verbs.predict_many)

    def close(self) -> None:
        self.driver.close()

    def __enter__(self) -> Loupe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncProducts(_AsyncOwner):
    create = _Awaited(verbs.create_product)
    get = _Awaited(verbs.get_product)
    list = _Awaited(verbs.list_products)
    delete = _Awaited(verbs.delete_product)
    roll_back = _Awaited(verbs.roll_back_product)


class AsyncDatasets(_AsyncOwner):
    create = _Awaited(verbs.create_dataset)
    get = _Awaited(verbs.get_dataset)
    list = _Awaited(verbs.list_datasets)
    wait = _Awaited(verbs.wait_for_dataset)
    report = _Awaited(verbs.get_report)
    delete = _Awaited(verbs.delete_dataset)


class AsyncJobs(_AsyncOwner):
    create = _Awaited(verbs.create_job)
    get = _Awaited(verbs.get_job)
    list = _Awaited(verbs.list_jobs)
    wait = _Awaited(verbs.wait_for_job)
    cancel = _Awaited(verbs.cancel_job)
    stop = _Awaited(verbs.stop_job)
    pause = _Awaited(verbs.pause_job)
    resume = _Awaited(verbs.resume_job)
    delete = _Awaited(verbs.delete_job)
    metrics = _Awaited(verbs.get_metrics)
    events = _Awaited(verbs.list_events)
    evaluation = _Awaited(verbs.get_evaluation)
    evaluate = _Awaited(verbs.evaluate_job)
    report = _Awaited(verbs.save_report)


class AsyncModels(_AsyncOwner):
    get = _Awaited(verbs.get_model)
    list = _Awaited(verbs.list_models)
    promote = _Awaited(verbs.promote_model)
    save = _Awaited(verbs.save_model)


class AsyncLoupe(_AsyncOwner):
    """``Loupe`` for one event loop: ``async with AsyncLoupe(…) as loupe:``, and every verb is awaited."""

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(AsyncDriver(Address.of(server, api_key, patience)))
        self.products = AsyncProducts(self.driver)
        self.datasets = AsyncDatasets(self.driver)
        self.jobs = AsyncJobs(self.driver)
        self.models = AsyncModels(self.driver)

    @property
    def server(self) -> str:
        """Its address."""
        return self.driver.address.url

    predict = _Awaited(verbs.predict)
    predict_many = _Awaited(verbs.predict_many)

    async def close(self) -> None:
        await self.driver.close()

    async def __aenter__(self) -> AsyncLoupe:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
