"""What is bound to a product stays bound to that one, and not to a later one of the same id"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.config import Settings
from app.context import AppContext
from app.errors import LoupeError
from app.models import ApiKey, Product
from app.schemas.api_key import ApiKeyCreate
from app.services import api_keys, deletions
from app.services.api_keys import unbind_product
from app.services.products import lock_product


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_key": Settings(api_key="s3cret", _env_file=None).api_key})


@pytest.fixture(autouse=True)
def _products(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        session.add_all([Product(id=one, name=one) for one in ("nuts", "screws")])


def add_key(context: AppContext) -> str:
    request = ApiKeyCreate(name="line 2", scopes=["read"], products=["screws", "nuts"])
    return api_keys.create_key(context, request).id


def key_products(context: AppContext, key: str) -> list[str] | None:
    with context.db.read() as session:
        return session.get_one(ApiKey, key).products


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
        unbind_product(session, product)
        session.delete(row)
        session.flush()
        thread.start()
        thread.join(1)
    thread.join()
    return errors


def test_of_two_products_deleted_at_once_a_key_keeps_none(any_context: AppContext) -> None:
    key = add_key(any_context)
    assert not do_while_deleting(any_context, "screws", lambda: deletions.delete_product(any_context, "nuts"))
    assert key_products(any_context, key) == []


def test_nothing_is_bound_to_a_product_that_is_being_deleted(any_context: AppContext) -> None:
    [error] = do_while_deleting(any_context, "screws", lambda: add_key(any_context))
    assert error.detail == "There is no product 'screws'."
