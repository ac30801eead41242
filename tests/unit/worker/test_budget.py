import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.worker.budget import ByteBudget


class Holder:
    """Holds bytes of a budget until it is told to let go."""

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._let_go = asyncio.Event()
        self.holds = False
        self.task = asyncio.ensure_future(self._hold(budget, size))

    async def _hold(self, budget: ByteBudget, size: int) -> None:
        async with budget.hold(size):
            self.holds = True
            try:
                await self._let_go.wait()
            finally:
                self.holds = False

    async def let_go(self) -> None:
        self._let_go.set()
        await self.task
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def start(budget: ByteBudget, *sizes: int) -> list[Holder]:
    holders = [Holder(budget, size) for size in sizes]
    await settle()
    return holders


async def test_bytes_are_held_and_given_back() -> None:
    budget = ByteBudget(100)

    async with budget.hold(60):
        assert budget.free == 40
        async with budget.hold(40):
            assert budget.free == 0
    assert budget.free == 100


async def test_bytes_are_given_back_after_an_error() -> None:
    budget = ByteBudget(100)

    with pytest.raises(ValueError, match="broken"):
        async with budget.hold(60):
            raise ValueError("broken")

    assert budget.free == 100


async def test_more_than_the_whole_budget_counts_as_the_whole() -> None:
    budget = ByteBudget(100)
    (small,) = await start(budget, 1)
    (large,) = await start(budget, 1000)
    assert not large.holds

    await small.let_go()

    assert large.holds
    assert budget.free == 0
    await large.let_go()
    assert budget.free == 100


async def test_a_large_request_is_not_starved_by_small_ones() -> None:
    budget = ByteBudget(100)
    first, large, small = await start(budget, 50, 80, 10)
    assert (first.holds, large.holds, small.holds) == (True, False, False)

    await first.let_go()

    assert (large.holds, small.holds) == (True, True)
    await large.let_go()
    await small.let_go()


async def test_a_holder_that_is_cancelled_gives_back_what_it_holds() -> None:
    budget = ByteBudget(100)
    first, second = await start(budget, 100, 100)

    first.task.cancel()
    await settle()

    assert second.holds
    await second.let_go()
    assert budget.free == 100


async def test_who_is_cancelled_in_the_queue_lets_those_behind_pass() -> None:
    budget = ByteBudget(100)
    first, large, small = await start(budget, 50, 80, 50)

    large.task.cancel()
    await settle()

    assert small.holds
    await first.let_go()
    await small.let_go()
    assert budget.free == 100


async def test_who_is_cancelled_just_as_its_turn_comes_gives_the_bytes_back() -> None:
    budget = ByteBudget(100)
    first, second, third = await start(budget, 100, 100, 100)

    first._let_go.set()  # noqa: SLF001 - to cancel the second before it runs again
    for _ in range(3):
        await asyncio.sleep(0)
        if budget.free == 0 and first.task.done():
            break
    second.task.cancel()
    await settle()

    assert third.holds
    await third.let_go()
    assert budget.free == 100


@given(
    st.lists(st.integers(0, 120), min_size=1, max_size=12),
    st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=30),
)
def test_whatever_happens_no_byte_is_held_twice_or_lost(
    sizes: list[int], events: list[tuple[bool, int]]
) -> None:
    async def run() -> None:
        budget = ByteBudget(100)
        holders = await start(budget, *sizes)
        for cancelled, number in events:
            holder = holders[number % len(holders)]
            if cancelled:
                holder.task.cancel()
                await settle()
            elif holder.holds:
                await holder.let_go()
            held = sum(
                min(size, 100) for size, one in zip(sizes, holders, strict=True) if one.holds
            )
            assert budget.free == 100 - held
            assert budget.free >= 0
        for holder in holders:
            holder.task.cancel()
        await settle()
        assert budget.free == 100

    asyncio.run(run())
