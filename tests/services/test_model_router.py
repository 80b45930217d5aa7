"""Which model answers, from memory, and how a move of an alias gets there"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from app.context import AppContext
from app.errors import ArtifactError, InvalidRequestError, NotFoundError
from app.inference.cache import ModelCache
from app.jobs import kept_models
from app.models import Alias, Revision, TrainedModel
from app.models.alias import TOPIC
from app.schemas.caller import ANYBODY
from app.schemas.model import AliasMoveCreate
from app.services import aliases, deletions, job_lifecycle, model_router, trained_models
from app.services.model_router import ModelRouter, Question
from app.storage.remote import NoRemote
from tests.services.rows import train
from tests.services.served_models import MakeArtifact, add_served_model
from tests.services.webhook_rows import add_webhook, deliveries, payloads
from tests.waiting import wait_for

CHAMPION = Question("squares", None, None)


@pytest.fixture
def process(any_context: AppContext) -> Iterator[AppContext]:
    """Another process on the same database."""
    with closing(AppContext.open(any_context.settings)) as context:
        yield context


@pytest.fixture
def router(process: AppContext) -> Iterator[ModelRouter]:
    with closing(ModelCache()) as cache:
        router = ModelRouter(process, cache)
        process.changes.register(TOPIC, router.refresh)
        process.changes.look()
        yield router


@pytest.fixture
def add_model(any_context: AppContext, make_artifact: MakeArtifact) -> Callable[..., str]:
    return partial(add_served_model, any_context, make_artifact)


def ask(router: ModelRouter, question: Question = CHAMPION, context: AppContext | None = None) -> str:
    return asyncio.run(router.ask(context or router._context, question)).choice.id


def peek(router: ModelRouter, question: Question = CHAMPION) -> str | None:
    asked = router.peek(question)
    return None if asked is None else asked.choice.id


def move(context: AppContext, model: str, name: str = "champion") -> None:
    aliases.put_alias(context, "squares", name, AliasMoveCreate(model=model))


def look(context: AppContext, router: ModelRouter) -> None:
    context.changes.look()
    router.settle()


def test_a_question_is_answered_without_the_database_once_it_was_asked(
    process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    model = add_model(alias="champion")
    assert peek(router) is None
    assert ask(router) == model
    statements: list[str] = []
    event.listen(process.db.engine, "before_cursor_execute", lambda _c, _s, text, *_: statements.append(text))
    assert peek(router) == ask(router) == model
    assert not statements


def test_a_move_in_another_process_is_followed_and_the_new_model_is_loaded_before_it_answers(
    any_context: AppContext, process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    first, second = add_model(alias="champion"), add_model()
    numbered, named = Question("squares@1", None, None), Question(None, None, first)
    for question in (CHAMPION, numbered, named):
        assert ask(router, question) == first
    held = router.peek(CHAMPION)
    move(any_context, second)
    assert peek(router) == first
    look(process, router)
    assert peek(router) == second
    assert peek(router, numbered) == peek(router, named) == first
    assert held is not None
    assert held.choice.id == first, "who was answered by the old one still is"


@pytest.mark.parametrize("slow", ["the first", "the second"])
def test_of_two_moves_the_second_counts_whichever_model_is_loaded_first(
    context: AppContext, make_artifact: MakeArtifact, slow: str
) -> None:
    one, two, three = (
        add_served_model(context, make_artifact, alias=name) for name in ("champion", "b", "c")
    )
    with closing(ModelCache()) as cache:
        router = ModelRouter(context, cache)
        context.changes.register(TOPIC, router.refresh)
        assert ask(router) == one
        [pipe] = (context.storage.models / (two if slow == "the first" else three)).rglob("manifest.json")
        manifest = pipe.read_bytes()
        pipe.unlink()
        os.mkfifo(pipe)  # whoever opens it waits until somebody writes
        for model in (two, three):
            move(context, model)
        quick = three if slow == "the first" else two
        wait_for(lambda: quick in cache.loaded(), 20, "the model that is loaded at once")
        pipe.write_bytes(manifest)
        router.settle()
        assert peek(router) == three


def test_of_a_model_that_nobody_has_asked_for_lately_nothing_is_loaded(
    any_context: AppContext, process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    first, second = add_model(alias="champion"), add_model()
    ask(router)
    router._cache.drop(first)
    move(any_context, second)
    look(process, router)
    assert router._cache.loaded() == ()
    assert ask(router) == second


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_answering_until_it_can(
    any_context: AppContext,
    process: AppContext,
    router: ModelRouter,
    add_model: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = add_model(alias="champion"), add_model()
    ask(router)
    [file] = (process.storage.models / second).rglob("model.tflite")
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    takes = add_webhook(any_context, events=["model.not_loaded"], products=["squares"])
    move(any_context, second)
    for _ in range(3):
        look(process, router)
        router.refresh()
        router.settle()
        assert peek(router) == first
    assert caplog.text.count(f"model {second} of squares cannot be loaded") == 1
    with pytest.raises(ArtifactError):
        ask(router, Question(None, None, second))
    assert len(deliveries(any_context, takes)) == 1
    [told] = payloads(any_context)
    assert {name: told[name] for name in ("product", "model", "answering", "code")} == {
        "product": "squares",
        "model": second,
        "answering": first,
        "code": ArtifactError.code,
    }
    file.write_bytes(good)

    def answers() -> bool:
        router.refresh()
        router.settle()
        return peek(router) == second

    wait_for(answers, 10, "the next try of the load")


def test_a_pinned_model_is_loaded_before_anybody_asks_and_so_is_the_next_one(
    any_context: AppContext, process: AppContext, add_model: Callable[..., str]
) -> None:
    with closing(ModelCache()) as cache:
        router = ModelRouter(process, cache, pinned=("squares", "squares@canary"))
        process.changes.register(TOPIC, router.refresh)
        process.changes.look()  # there is nothing yet
        first, second = add_model(alias="champion"), add_model()
        process.changes.look()
        wait_for(lambda: peek(router) == first, 20, "the champion")
        move(any_context, second)
        look(process, router)
        assert peek(router) == second
        assert cache._pinned == {second}
        move(any_context, first, "canary")
        look(process, router)
        assert cache._pinned == {first, second}


def test_a_deleted_model_answers_no_more(
    any_context: AppContext, process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    model = add_model()
    question = Question(None, None, model)
    ask(router, question)
    with any_context.db.read() as session:
        job = session.get_one(TrainedModel, model).job_id
    job_lifecycle.delete_job(any_context, job)
    look(process, router)
    assert peek(router, question) is None
    assert router._cache.loaded() == ()
    with pytest.raises(NotFoundError):
        ask(router, question)


def test_a_model_that_another_alias_leads_to_stays_in_memory_when_an_alias_ends(
    any_context: AppContext, process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    model = add_model(alias="champion")
    move(any_context, model, "canary")
    assert ask(router) == ask(router, Question("squares@canary", None, None)) == model
    aliases.delete_alias(any_context, "squares", "canary")
    look(process, router)
    assert peek(router) == model
    assert peek(router, Question("squares@canary", None, None)) is None


def test_a_model_that_is_deleted_does_not_answer_for_one_that_cannot_be_loaded(
    any_context: AppContext, process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    first, second = add_model(alias="champion"), add_model()
    ask(router)
    [file] = (process.storage.models / second).rglob("model.tflite")
    file.write_bytes(b"")
    move(any_context, second)
    look(process, router)
    assert peek(router) == first
    with any_context.db.read() as session:
        job = session.get_one(TrainedModel, first).job_id
    job_lifecycle.delete_job(any_context, job)
    look(process, router)
    assert peek(router) is None
    with pytest.raises(ArtifactError):
        ask(router)


def test_what_is_named_beside_a_model_must_lead_to_it(
    router: ModelRouter, add_model: Callable[..., str]
) -> None:
    first, second = add_model(alias="champion"), add_model()
    for product in ("squares", "squares@champion", "squares@1"):
        assert ask(router, Question(product, None, first)) == first
    for product in ("squares@champion", "squares@1"):
        with pytest.raises(InvalidRequestError):
            ask(router, Question(product, None, second))
    with pytest.raises(NotFoundError):
        ask(router, Question("squares@nonsense", None, first))


def test_what_one_key_may_ask_is_not_answered_to_another(
    process: AppContext, router: ModelRouter, add_model: Callable[..., str]
) -> None:
    model = add_model(alias="champion")
    assert ask(router) == model
    stranger = replace(ANYBODY, key_id="key_1", products=frozenset({"others"}))
    question = CHAMPION._replace(seen=stranger.products)
    assert peek(router, question) is None
    with pytest.raises(NotFoundError):
        ask(router, question, process.on_behalf_of(stranger))


def test_what_was_read_before_a_move_is_read_again(
    any_context: AppContext,
    process: AppContext,
    router: ModelRouter,
    add_model: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = add_model(alias="champion"), add_model()
    choose = trained_models.choose_model
    read: list[str] = []

    def choose_slowly(context: AppContext, **question: str | None) -> trained_models.ModelChoice:
        choice = choose(context, **question)
        read.append(choice.id)
        if len(read) == 1:
            move(any_context, second)
            look(process, router)
        return choice

    monkeypatch.setattr(model_router, "choose_model", choose_slowly)
    assert ask(router) == second
    assert read == [first, second]


def test_a_move_that_an_older_worker_made_is_found_after_a_while(
    any_context: AppContext,
    router: ModelRouter,
    add_model: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = add_model(alias="champion"), add_model()
    ask(router)
    with any_context.db.write() as session:
        session.execute(update(Alias).values(model_id=second))
    router.refresh_now_and_then()
    router.settle()
    assert peek(router) == first
    monkeypatch.setattr(model_router, "RECHECK_SECONDS", 0.0)
    router.refresh_now_and_then()
    router.settle()
    assert peek(router) == second


def test_a_load_asks_the_storage_first(
    router: ModelRouter, add_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add_model(alias="champion")
    asked: list[str] = []
    download = NoRemote.download

    def note(remote: NoRemote, path: Path) -> Path:
        asked.append(path.parent.name)
        return download(remote, path)

    monkeypatch.setattr(NoRemote, "download", note)
    ask(router)
    ask(router)
    assert asked == [model]


def mark(context: AppContext) -> str | None:
    with context.db.read() as session:
        return session.scalar(select(Revision.mark).where(Revision.topic == TOPIC))


def test_every_verb_that_moves_an_alias_or_ends_a_model_says_so(
    any_context: AppContext, tmp_path: Path
) -> None:
    context = replace(any_context, settings=any_context.settings.model_copy(update={"kept_models": 0}))
    marks = [mark(context)]

    def noted(what: str) -> None:
        marks.append(mark(context))
        assert marks[-1] not in marks[:-1], what

    job = train(context, tmp_path)
    noted("a training whose model becomes champion")
    product = job.product_id
    with context.db.read() as session:
        [model] = session.scalars(select(TrainedModel.id))
    aliases.put_alias(context, product, "mine", AliasMoveCreate(model=model))
    noted("an alias moved by hand")
    aliases.delete_alias(context, product, "mine")
    noted("an alias removed")
    gate = {"min_accuracy": 0.8, "on_failure": "keep"}
    shared: dict[str, Any] = {"product_id": product, "dataset_id": job.dataset, "gate_rules": gate}
    train(context, tmp_path, **shared)
    with suppress(AssertionError):
        noted("nothing moved")
        pytest.fail("a model without an alias was noted")
    marks.pop()
    assert len(kept_models.remove_kept_models(context)) == 1
    noted("a kept model is removed")
    failed = train(context, tmp_path, **shared)
    job_lifecycle.delete_job(context, failed.id)
    noted("a job is deleted")
    deletions.delete_product(context, product, force=True)
    noted("a product is deleted")
