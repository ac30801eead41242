"""The laws of fair shares, on a line that hands out one batch after the other."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.fairness import (
    BULK_SHARE,
    FULL_BYTES,
    FULL_DOCUMENTS,
    FULL_ROWS,
    INTERACTIVE_BYTES,
    NO_SHARE,
    Share,
    embed_cost,
    extract_cost,
    kept_for_bulk,
    lane_of,
    placed,
    refunded,
)
from vectorflow.domain.jobs import Lane

COSTS = st.floats(min_value=1 / FULL_DOCUMENTS, max_value=8)
WEIGHTS = st.floats(min_value=0.1, max_value=10)
NAMES = "abc"


@dataclass
class Line:
    """Batches in order of virtual time, then of age, as the index has them."""

    weights: dict[str, float]
    now: float = 0.0
    waiting: list[tuple[float, int, str, float]] = field(default_factory=list)
    shares: dict[str, Share] = field(default_factory=dict)
    served: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    age: int = 0

    def send(self, name: str, *costs: float) -> None:
        share = self.shares.get(name, NO_SHARE)
        weight = self.weights[name]
        times, self.shares[name] = placed(costs, share=share, now=self.now, weight=weight)
        for time, cost in zip(times, costs, strict=True):
            self.age += 1
            self.waiting.append((time, self.age, name, cost))

    def hand_out(self) -> str:
        first = min(self.waiting)
        self.waiting.remove(first)
        time, _, name, cost = first
        self.now = max(self.now, time)
        self.served[name] += cost
        return name

    def waits(self, name: str) -> bool:
        return any(one[2] == name for one in self.waiting)


def line_of(weights: tuple[float, float, float]) -> Line:
    return Line(dict(zip(NAMES, weights, strict=True)))


@given(
    weights=st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),
    sent=st.lists(st.tuples(st.sampled_from(NAMES), st.lists(COSTS, min_size=1, max_size=9))),
)
def test_who_waits_gets_the_share_of_its_weight_but_for_one_batch(
    weights: tuple[float, float, float], sent: list[tuple[str, list[float]]]
) -> None:
    line = line_of(weights)
    largest = dict.fromkeys(NAMES, 0.0)
    for name, costs in sent:
        line.send(name, *costs)
        largest[name] = max(largest[name], *costs)

    while all(line.waits(name) for name in NAMES):
        line.hand_out()
        for one in NAMES:
            for other in NAMES:
                apart = line.served[one] / line.weights[one]
                apart -= line.served[other] / line.weights[other]
                bound = largest[one] / line.weights[one] + largest[other] / line.weights[other]
                assert abs(apart) <= bound + 1e-6


@given(
    flood=st.lists(COSTS, min_size=1, max_size=60),
    handed_out=st.integers(0, 59),
    weights=st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),
)
def test_who_comes_late_waits_for_one_batch_of_a_flood(
    flood: list[float], handed_out: int, weights: tuple[float, float, float]
) -> None:
    line = line_of(weights)
    line.send("a", *flood)
    for _ in range(min(handed_out, len(flood) - 1)):
        line.hand_out()

    line.send("b", 1.0)

    assert "b" in [line.hand_out() for _ in range(2)]


@given(idle=st.integers(1, 40), burst=st.integers(2, 40))
def test_who_was_idle_has_saved_nothing_up(idle: int, burst: int) -> None:
    line = line_of((1, 1, 1))
    line.send("a", *[1.0] * (idle + burst))
    for _ in range(idle):
        line.hand_out()

    line.send("b", *[1.0] * burst)

    first = [line.hand_out() for _ in range(burst)]
    assert abs(first.count("a") - first.count("b")) <= 1


def test_who_sends_one_after_the_other_gets_no_more_than_its_share() -> None:
    line = line_of((1, 1, 1))
    line.send("a", *[1.0] * 20)
    served: list[str] = []
    for _ in range(20):
        if not line.waits("b"):
            line.send("b", 1.0)
        served.append(line.hand_out())

    assert abs(served.count("a") - served.count("b")) <= 1


def test_what_was_cancelled_is_not_charged() -> None:
    assert refunded(Share(100.0, 100.5), None) == NO_SHARE
    assert refunded(Share(100.0, 100.5), 7.0) == Share(7.0, 7.5)


def test_a_full_batch_costs_one_whatever_makes_it_full() -> None:
    assert extract_cost([0] * FULL_DOCUMENTS) == 1
    assert extract_cost([FULL_BYTES]) == pytest.approx(1, abs=0.01)
    assert embed_cost(FULL_DOCUMENTS, 0) == 1
    assert embed_cost(0, FULL_ROWS) == 1
    assert extract_cost([]) > 0


def test_a_large_document_is_bulk() -> None:
    assert lane_of(INTERACTIVE_BYTES) is Lane.INTERACTIVE
    assert lane_of(INTERACTIVE_BYTES + 1) is Lane.BULK


@given(limit=st.integers(1, 256))
def test_bulk_is_kept_its_share_of_places_on_average(limit: int) -> None:
    steps = 1000
    kept = [kept_for_bulk(limit, step / steps) for step in range(steps)]
    assert sum(kept) / steps == pytest.approx(limit * BULK_SHARE, abs=0.01)
    assert max(kept) - min(kept) <= 1
    assert min(kept) >= 0
