"""A service with a key: who has none gets nothing, and who has a small one gets no more than it allows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from tests.api.operations import OPERATIONS, Operation
from tests.attack.conftest import Attacks
from tests.conftest import Service, start_service, stop_service
from tests.running import upload_pictures

pytestmark = [pytest.mark.integration]

KEY = "a first key of good length"
REVOKED_SECONDS = 2.0


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("locked") / "home"
    service = start_service(home, LOUPE_API_KEY=KEY)
    yield service
    stop_service(service)
    shutil.rmtree(home.parent, ignore_errors=True)


@pytest.fixture
def admin(locked: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=locked.url, headers=bearer(KEY), timeout=60) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_nothing_is_answered(locked: Service, attacks: Attacks) -> None:
    guesses = (
        "",
        "Bearer",
        "Bearer lp_",
        f"Basic {KEY}",
        f"Bearer {KEY}x",
        "Bearer \xe9",
        "lp_a_b",
    )
    closed = [one for one in OPERATIONS if one.security]
    asked = [(one, guess) for one in closed for guess in guesses]

    def ask(what: tuple[Operation, str]) -> httpx.Response:
        one, guess = what
        headers = {b"Authorization": guess.encode("latin-1")}
        return httpx.request(one.method, f"{locked.url}{one.url}", headers=headers, timeout=60)

    # Side by side: each wrong key waits for a look at the database, which all share.
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, asked))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) <= 2
    attacks.held("no key, or a wrong one, each route", "401", f"{len(answers)} times 401")


def test_guessing_keys_costs_the_server_little(locked: Service, attacks: Attacks) -> None:
    with locked.client() as http:
        began = time.monotonic()
        statuses = {http.get("/jobs", headers=bearer(f"lp_{n:08d}_{n:040d}")).status_code for n in range(40)}
        seconds = time.monotonic() - began
    assert statuses <= {401, 429}
    attacks.held(
        "40 guessed keys, one after the other",
        "401",
        f"{sorted(statuses)}, {seconds / 40 * 1000:.0f} ms each",
    )


def test_a_key_bound_to_one_product_sees_no_other(
    locked: Service, admin: httpx.Client, attacks: Attacks
) -> None:
    secret = upload_pictures(admin, "secret")["id"]
    admin.post("/products", json={"id": "own"}).raise_for_status()
    made = admin.post(
        "/api-keys", json={"name": "small", "scopes": ["write", "promote", "predict"], "products": ["own"]}
    ).json()
    with httpx.Client(base_url=locked.url, headers=bearer(made["key"]), timeout=60) as small:
        texts = []
        for one in OPERATIONS:
            for value in ("secret", secret):
                answer = small.request(one.method, one.url_with(value), json={} if one.content else None)
                assert answer.status_code >= 400 or secret not in answer.text, str(one)
                texts.append(answer.text.replace(f"/{value}", ""))
        lists = "".join(small.get(path).text for path in ("/products", "/jobs", "/models", "/workers"))
    assert "secret" not in lists
    assert secret not in lists
    attacks.held("a bound key asks each route for another product", "nothing of it", f"{len(texts)} answers")


def test_a_revoked_key_is_worth_nothing_soon(locked: Service, admin: httpx.Client, attacks: Attacks) -> None:
    made = admin.post("/api-keys", json={"name": "short", "scopes": ["read"]}).json()
    with httpx.Client(base_url=locked.url, headers=bearer(made["key"]), timeout=60) as client:
        assert client.get("/jobs").status_code == 200
        admin.delete(f"/api-keys/{made['id']}").raise_for_status()
        began = time.monotonic()
        while client.get("/jobs").status_code != 401:
            assert time.monotonic() - began < REVOKED_SECONDS
        seconds = time.monotonic() - began
    attacks.held("a key after it is revoked", f"{REVOKED_SECONDS:g} s", f"{seconds:.2f} s")
