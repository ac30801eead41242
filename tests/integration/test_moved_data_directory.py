from pathlib import Path

import vectorflow as vf

NOTE = {"id": "note", "text": "The key of the shed hangs behind the clock."}


def test_a_data_directory_that_was_moved_is_still_searchable_and_pays_nothing(
    tmp_path: Path,
) -> None:
    with vf.open(data_dir=tmp_path / "before", embedder="hash:64") as flow:
        flow.embed(NOTE)

    (tmp_path / "before").rename(tmp_path / "after")

    with vf.open(data_dir=tmp_path / "after", embedder="hash:64") as flow:
        assert [hit.document.external_id for hit in flow.search("shed clock")] == ["note"]
        assert flow.embed(NOTE).unchanged == 1


def test_a_store_in_the_data_directory_is_the_same_by_default_and_by_name(tmp_path: Path) -> None:
    with vf.open(data_dir=tmp_path, embedder="hash:64") as flow:
        flow.embed(NOTE)

    named = f"lancedb://{tmp_path}/vectors"
    with vf.open(data_dir=tmp_path, embedder="hash:64", store=named) as flow:
        assert flow.embed(NOTE).unchanged == 1


def test_a_store_elsewhere_stays_where_it_is(tmp_path: Path) -> None:
    store = f"lancedb://{tmp_path}/elsewhere"
    with vf.open(data_dir=tmp_path / "before", embedder="hash:64", store=store) as flow:
        flow.embed(NOTE)

    (tmp_path / "before").rename(tmp_path / "after")

    with vf.open(data_dir=tmp_path / "after", embedder="hash:64", store=store) as flow:
        assert flow.embed(NOTE).unchanged == 1


def test_work_for_the_store_of_the_data_directory_is_done_by_a_worker_with_another_store(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with vf.open(data_dir=home, embedder="hash:64") as one:
        other = vf.open(data_dir=home, embedder="hash:64", store=f"lancedb://{tmp_path}/other")
        with other:
            assert other.embed(NOTE).new == 1
            assert one.embed(NOTE).new == 1
            assert other.embed(NOTE).unchanged == 1

    assert (home / "vectors").is_dir()
    assert not (tmp_path / "{data_dir}").exists()
