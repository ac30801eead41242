"""Where a child may read: where modules are installed, and the packages it was told of."""

import sys
from pathlib import Path

import pytest

from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.orders import Orders
from vectorflow.sandbox.places import places_of

ROOT = Path(__file__).parents[3]


def test_of_a_project_only_its_packages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])

    places = places_of({"vectorflow", "tests"})

    assert str(ROOT) in places.search
    assert str(ROOT) not in places.trees
    assert {str(ROOT / "src" / "vectorflow"), str(ROOT / "tests")} <= set(places.trees)
    assert [tree for tree in places.trees if ROOT.is_relative_to(tree)] == []


def test_the_folder_of_a_script_is_searched_by_its_full_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "lib", *sys.path])

    places = places_of(())

    assert {str(tmp_path), str(tmp_path / "lib")} <= set(places.search)
    assert all(Path(entry).is_absolute() for entry in (*places.search, *places.trees))
    assert not any(Path(tree).is_relative_to(tmp_path) for tree in places.trees)


def test_a_module_of_one_file_is_that_file() -> None:
    import typing_extensions  # noqa: PLC0415 - any module that is no package

    assert typing_extensions.__file__ in places_of({"typing_extensions"}).trees


def test_orders_come_out_as_they_went_in() -> None:
    orders = Orders(
        channel=7,
        lifeline=9,
        limits=Limits(memory=1, silence=2.5),
        places=places_of({"vectorflow"}),
    )

    assert Orders.parsed(orders.text) == orders
