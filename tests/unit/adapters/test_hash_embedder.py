import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.errors import InvalidInput


@pytest.mark.parametrize("dimensions", [8, 384, 1536])
async def test_the_model_name_is_the_number_of_dimensions(dimensions: int) -> None:
    embedder = HashEmbedder(str(dimensions))

    assert embedder.fingerprint.dimensions == dimensions
    assert (await embedder.embed(["a"], "document")).shape == (1, dimensions)


@pytest.mark.parametrize("model", ["", "big", "-8", "7", "16385", "9" * 5000, "12.5", "٣٨٤"])
def test_a_model_name_that_is_no_size_is_refused(model: str) -> None:
    with pytest.raises(InvalidInput, match="hash"):
        HashEmbedder(model)


def test_sizes_do_not_compare() -> None:
    assert HashEmbedder("8").fingerprint.digest != HashEmbedder("16").fingerprint.digest


async def test_vectors_are_the_same_on_every_machine() -> None:
    vectors = await HashEmbedder("8").embed(["VectorFlow"], "document")

    np.testing.assert_allclose(
        vectors[0],
        [
            0.4596296,
            -0.3700608,
            0.2380646,
            -0.2380646,
            -0.4502013,
            0.2474929,
            0.4454872,
            -0.2757778,
        ],
        atol=1e-6,
    )


async def test_different_texts_are_nearly_orthogonal() -> None:
    vectors = await HashEmbedder().embed([f"text {number}" for number in range(200)], "document")

    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0)
    assert cosines.shape == (200, 200)
    assert np.abs(cosines).max() < 0.35


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())), unique=True, min_size=2))
async def test_any_distinct_texts_get_distinct_unit_vectors(texts: list[str]) -> None:
    vectors = await HashEmbedder().embed(texts, "document")

    assert len(np.unique(vectors, axis=0)) == len(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
