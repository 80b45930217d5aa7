"""What is bound to a product stays bound to that one, and not to a later one of the same id"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from app.config import Settings
from app.context import AppContext
from app.errors import LoupeError
from app.models import ApiKey, Product, TrainedModel, Webhook
from app.schemas.api_key import ApiKeyCreate
from app.schemas.webhook import WebhookCreate, WebhookUpdate
from app.services import api_keys, deletions, webhook_events, webhooks
from app.services.products import lock_product
from tests.services import webhook_rows as rows


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_key": SecretStr("s3cret"), "webhook_hosts": ("203.0.113.7",)})


@pytest.fixture(autouse=True)
def _products(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        session.add_all([Product(id=one, name=one) for one in ("nuts", "screws")])


def add_key(context: AppContext) -> str:
    request = ApiKeyCreate(name="line 2", scopes=["read"], products=["screws", "nuts"])
    return api_keys.create_key(context, request).id


def add_webhook(context: AppContext) -> str:
    request = WebhookCreate(url="https://203.0.113.7/", products=["screws", "nuts"])
    return str(webhooks.create_webhook(context, request).body["id"])


def bind_webhook(context: AppContext) -> None:
    webhook = rows.add_webhook(context)
    webhooks.update_webhook(context, webhook, WebhookUpdate(products=["nuts", "screws"]))


def products_of(context: AppContext, bound_id: str) -> list[str] | None:
    with context.db.read() as session:
        key = session.get(ApiKey, bound_id)
        return session.get_one(Webhook, bound_id).products if key is None else key.products


def do_while_deleting(context: AppContext, product: str, do: Callable[[], object]) -> list[LoupeError]:
    """Another request does something between the deletion of a product and its commit; how it fails."""
    errors: list[LoupeError] = []

    def act() -> None:
        try:
            do()
        except LoupeError as error:
            errors.append(error)

    thread = threading.Thread(target=act)
    with context.db.write() as session:
        row = lock_product(session, product)
        for bound in (api_keys, webhooks):
            bound.unbind_product(session, product)
        session.delete(row)
        session.flush()
        thread.start()
        thread.join(1)
    thread.join()
    return errors


@pytest.mark.parametrize("bind", [add_key, add_webhook])
def test_what_was_bound_to_two_products_deleted_at_once_is_bound_to_none_of_them(
    any_context: AppContext, bind: Callable[[AppContext], str]
) -> None:
    bound_id = bind(any_context)
    assert not do_while_deleting(any_context, "screws", lambda: deletions.delete_product(any_context, "nuts"))
    assert products_of(any_context, bound_id) == []


@pytest.mark.parametrize("bind", [add_key, add_webhook, bind_webhook])
def test_nothing_is_bound_to_a_product_that_is_being_deleted(
    any_context: AppContext, bind: Callable[[AppContext], object]
) -> None:
    [error] = do_while_deleting(any_context, "screws", lambda: bind(any_context))
    assert error.detail == "There is no product 'screws'."


def test_a_webhook_gets_nothing_of_a_later_product_of_the_same_id(any_context: AppContext) -> None:
    webhook = add_webhook(any_context)
    deletions.delete_product(any_context, "screws")
    with any_context.db.write() as session:
        session.add(Product(id="screws", name="others"))
    for product, times in (("screws", 0), ("nuts", 1)):
        with any_context.db.write() as session:
            model = TrainedModel(id="mdl_1", product_id=product, version=1)
            webhook_events.champion_moved(session, model, before=None, moved_by=None, is_override=False)
        assert len(rows.deliveries(any_context, webhook)) == times
