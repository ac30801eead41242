import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from vectorflow.domain.grouping import Grouped
from vectorflow.errors import Permanent, Unavailable, VectorFlowError


class Calls:
    """What is called in groups: answers each text in capitals, once it is let go on."""

    def __init__(self, *, open: bool = True) -> None:
        self.groups: list[list[str]] = []
        self.gate = asyncio.Event()
        if open:
            self.gate.set()

    async def __call__(self, items: Sequence[str]) -> Sequence[str]:
        self.groups.append(list(items))
        await self.gate.wait()
        if "bad" in items:
            raise Permanent("bad")
        if "down" in items:
            raise Unavailable("down")
        if "bug" in items:
            raise ValueError("a bug")
        if "short" in items:
            return []
        return [item.upper() for item in items]


def grouped(
    call: Callable[[Sequence[str]], Awaitable[Sequence[str]]], limit: int = 100
) -> Grouped[str, str]:
    return Grouped(call, weight=len, limit=limit)


async def outcome(waiting: "asyncio.Task[str]") -> str:
    try:
        return await asyncio.wait_for(waiting, 5)
    except VectorFlowError as error:
        return type(error).__name__


async def start(group: Grouped[str, str], *items: str) -> "list[asyncio.Task[str]]":
    tasks = [asyncio.ensure_future(group(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_arrives_during_a_call_travels_together_in_the_next() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    first = await start(group, "a")
    rest = await start(group, "b", "c", "d")
    calls.gate.set()

    assert [await outcome(task) for task in first + rest] == ["A", "B", "C", "D"]
    assert calls.groups == [["a"], ["b", "c", "d"]]


async def test_a_group_stays_within_its_limit_unless_one_item_is_beyond_it() -> None:
    calls = Calls(open=False)
    group = grouped(calls, limit=4)
    tasks = await start(group, "x") + await start(group, "aa", "bb", "c", "dddddd", "e")
    calls.gate.set()

    assert [await outcome(task) for task in tasks] == ["X", "AA", "BB", "C", "DDDDDD", "E"]
    assert calls.groups == [["x"], ["aa", "bb"], ["c"], ["dddddd"], ["e"]]


async def test_one_bad_item_fails_alone() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    tasks = await start(group, "x") + await start(group, "a", "bad", "c")
    calls.gate.set()

    assert [await outcome(task) for task in tasks] == ["X", "A", "Permanent", "C"]
    assert calls.groups[1:] == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]


async def test_an_outage_reaches_the_whole_group_and_is_not_tried_again() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    tasks = await start(group, "x") + await start(group, "a", "down")
    calls.gate.set()

    assert [await outcome(task) for task in tasks] == ["X", "Unavailable", "Unavailable"]
    assert len(calls.groups) == 2


async def test_who_was_cancelled_while_waiting_is_left_out() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    first, *rest = await start(group, "x") + await start(group, "a", "b")
    rest[0].cancel()
    calls.gate.set()

    assert await outcome(rest[1]) == "B"
    assert await outcome(first) == "X"
    assert calls.groups == [["x"], ["b"]]


async def test_a_whole_group_that_was_cancelled_does_not_strand_those_behind_it() -> None:
    calls = Calls(open=False)
    group = grouped(calls, limit=2)
    tasks = await start(group, "x") + await start(group, "aa", "bb")
    tasks[1].cancel()
    calls.gate.set()

    assert await outcome(tasks[2]) == "BB"


async def test_who_is_cancelled_during_its_call_does_not_disturb_the_others() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    await start(group, "x")
    a, b = await start(group, "a", "b")
    calls.gate.set()
    await asyncio.sleep(0)
    a.cancel()

    assert await outcome(b) == "B"
    with pytest.raises(asyncio.CancelledError):
        await a


@pytest.mark.parametrize("broken", ["bug", "short"])
async def test_a_call_that_breaks_in_an_unforeseen_way_leaves_nobody_waiting(broken: str) -> None:
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    calls = Calls(open=False)
    group = grouped(calls, limit=6)
    tasks = await start(group, "x") + await start(group, broken, "a", "behind", "after")
    calls.gate.set()

    outcomes = [await outcome(task) for task in tasks]

    assert outcomes[0] == "X"
    assert outcomes[1:3] == ["Unavailable"] * 2
    assert outcomes[3:] == ["BEHIND", "AFTER"]
    assert await outcome((await start(group, "later"))[0]) == "LATER"


async def test_when_the_worker_closes_nobody_is_left_waiting() -> None:
    calls = Calls(open=False)
    group = grouped(calls)
    tasks = await start(group, "x") + await start(group, "a", "b")
    (runner,) = asyncio.all_tasks() - {*tasks, asyncio.current_task()}

    runner.cancel()

    assert [await outcome(task) for task in tasks] == ["Unavailable"] * 3
