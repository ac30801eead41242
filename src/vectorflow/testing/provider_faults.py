"""What may go wrong at the fake provider, and how often."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Self

import numpy as np

from vectorflow.domain.records import Matrix

FAULTS: Final = (
    "throttled",  # 429 with Retry-After
    "throttled_silently",  # 429 without
    "error_500",
    "error_503",
    "key_refused",  # 401
    "out_of_credit",  # 429, insufficient_quota
    "slow",  # answers after `slow_seconds`
    "reset",  # does the work, then drops the connection
    "truncated",  # half of the JSON
    "wrong_dimension",
    "nan",
    "fewer",  # the last vector is missing
    "shuffled",  # other order, true indexes: legal
    "wrong_index",  # one index twice
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Shares of all requests that go wrong, by a name of `FAULTS`, and how."""

    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    seed: int = 0
    retry_after: float = 1.0
    """Seconds that `throttled` tells its callers to wait."""
    slow_seconds: float = 120.0
    breaks_over: str = ""
    """Words that no request may hold: it answers 500 then, as often as it is asked."""

    def __post_init__(self) -> None:
        unknown = set(self.shares) - set(FAULTS)
        if unknown:
            message = f"no faults named {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}"
            raise ValueError(message)
        if not 0 <= sum(self.shares.values()) <= 1.000_001:
            raise ValueError("the shares of faults must add up to 1 or less")

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Make them of a JSON object with the names of the fields."""
        unknown = set(given) - {one.name for one in fields(cls)}
        shares = given.get("shares", {})
        if unknown or not isinstance(shares, Mapping):
            names = ", ".join(one.name for one in fields(cls))
            message = f"faults are {names}; shares are numbers by name"
            raise ValueError(message)
        return cls(
            shares={str(name): float(share) for name, share in shares.items()},
            seed=int(str(given.get("seed", 0))),
            retry_after=float(str(given.get("retry_after", 1.0))),
            slow_seconds=float(str(given.get("slow_seconds", 120.0))),
            breaks_over=str(given.get("breaks_over", "")),
        )


class Dice:
    """Draws the fault of each request, the same ones for the same seed."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - no secret hangs on it

    def throw(self) -> str:
        """Name the fault of the next request; empty if all goes well."""
        drawn = self._random.random()
        for name, share in self.faults.shares.items():
            drawn -= share
            if drawn < 0:
                return name
        return ""


def damaged(rows: Matrix, fault: str) -> tuple[Matrix, list[int]]:
    """Give the vectors and their indexes as a fault leaves them."""
    places = list(range(len(rows)))
    if fault == "wrong_dimension":
        return rows[:, : rows.shape[1] // 2], places
    if fault == "nan":
        rows[-1, 0] = np.nan
    if fault == "fewer":
        return rows[:-1], places[:-1]
    if fault == "shuffled":
        return rows[::-1], places[::-1]
    if fault == "wrong_index":
        places[-1] = 0 if len(places) > 1 else 1
    return rows, places
