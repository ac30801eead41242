import pytest

from vectorflow.testing.work import WorkSuite
from vectorflow.testing.workplace import Workplace


class TestLedgerWork(WorkSuite):
    @pytest.fixture
    def place(self, place: Workplace) -> Workplace:
        return place
