"""The budget of memory: first come, first served; what is dropped takes nothing with it."""

from __future__ import annotations

import asyncio
import random

from app.images.memory_budget import MemoryBudget, SharedBudget


def test_what_does_not_fit_waits_until_it_does_and_nobody_overtakes() -> None:
    async def scenario() -> list[str]:
        budget, order = MemoryBudget(100), []

        async def work(name: str, amount: int) -> None:
            async with budget.taking(amount):
                order.append(name)
                await asyncio.sleep(0)
                assert budget.used <= 100

        await asyncio.gather(work("a", 60), work("b", 60), work("small", 10), work("c", 100))
        assert budget.used == 0
        return order

    assert asyncio.run(scenario()) == ["a", "b", "small", "c"]


def test_what_alone_is_more_than_the_whole_is_let_in_alone() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(100)
        await budget.take(10)
        large = asyncio.create_task(budget.take(500))
        await asyncio.sleep(0)
        assert not large.done()
        budget.give_back(10)
        await large
        assert budget.used == 500
        later = asyncio.create_task(budget.take(1))
        await asyncio.sleep(0)
        assert not later.done()
        budget.give_back(500)
        await later

    asyncio.run(scenario())


def test_one_body_alone_may_grow_past_the_whole_and_two_may_not() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(100)
        for held in range(0, 300, 50):
            await budget.take(50, held=held)
        other = asyncio.create_task(budget.take(1))
        await asyncio.sleep(0)
        assert not other.done()
        other.cancel()

    asyncio.run(scenario())


def test_work_that_is_dropped_at_any_moment_keeps_nothing() -> None:
    async def scenario(seed: int) -> None:
        draw = random.Random(seed)
        budget = MemoryBudget(100)

        async def work() -> None:
            async with budget.taking(draw.randint(1, 150)):
                await asyncio.sleep(draw.random() / 500)

        tasks = [asyncio.create_task(work()) for _ in range(60)]
        for task in draw.sample(tasks, 40):
            await asyncio.sleep(draw.random() / 1000)
            task.cancel()
        await asyncio.wait(tasks)
        assert budget.used == 0
        await asyncio.wait_for(budget.take(100), 1)

    for seed in range(20):
        asyncio.run(scenario(seed))


def test_one_owner_has_half_at_most_and_holds_up_nobody_else() -> None:
    async def scenario() -> None:
        budget = SharedBudget(100)
        await budget.take("a", 30)
        await budget.take("a", 20)
        waiting = asyncio.create_task(budget.take("a", 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.wait_for(budget.take("b", 50), 1)
        budget.give_back("b", 50)
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.give_back("a", 30)
        await waiting

    asyncio.run(scenario())


def test_what_one_owner_alone_needs_may_be_more_than_its_half_but_not_more_than_is_free() -> None:
    async def scenario() -> None:
        budget = SharedBudget(100)
        await budget.take("a", 40)
        await budget.take("a", 40, held=40)
        waiting = asyncio.create_task(budget.take("b", 30))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.give_back("a", 80)
        await waiting

    asyncio.run(scenario())


def test_a_large_one_that_waits_holds_up_no_small_one_of_another() -> None:
    async def scenario() -> None:
        budget = SharedBudget(100)
        await budget.take("a", 70)
        large = asyncio.create_task(budget.take("b", 60))
        await asyncio.sleep(0)
        assert budget.take_now("c", 5)
        await asyncio.wait_for(budget.take("d", 5), 1)
        assert not large.done()
        budget.give_back("a", 70)
        await large

    asyncio.run(scenario())


def test_of_owners_that_are_gone_nothing_is_left() -> None:
    async def scenario(seed: int) -> None:
        draw = random.Random(seed)
        budget = SharedBudget(100)

        async def work() -> None:
            owner, amount = draw.choice("abc"), draw.randint(1, 80)
            await budget.take(owner, amount)
            try:
                await asyncio.sleep(draw.random() / 500)
            finally:
                budget.give_back(owner, amount)

        tasks = [asyncio.create_task(work()) for _ in range(60)]
        for task in draw.sample(tasks, 40):
            await asyncio.sleep(draw.random() / 1000)
            task.cancel()
        await asyncio.wait(tasks)
        assert budget._each == {}
        await asyncio.wait_for(budget.take("a", 100), 1)

    for seed in range(20):
        asyncio.run(scenario(seed))
