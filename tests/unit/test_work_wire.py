"""What travels between workers and the API arrives as it was sent."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from vectorflow import errors
from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.manifests import Part
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    DimensionMismatch,
    ForeignIndex,
    IndexLost,
    KeyRefused,
    Permanent,
    Throttled,
    Transient,
    UnknownPlugin,
    VectorFlowError,
)
from vectorflow.ports.work import (
    Finished,
    Lease,
    LeasedIndex,
    LeasedJob,
    LeasedVersion,
    NewPart,
    Usage,
)
from vectorflow.ports.work_wire import (
    MAX_LEASES,
    Claimed,
    Ended,
    Problem,
    answered,
    bare,
    ended,
    error_of,
    finished,
    names_of,
    problem_of,
    read_names,
)
from vectorflow.testing.workplace import PIPELINE

texts = st.text(st.characters(codec="utf-8"), max_size=20)
ids = st.integers(1, (1 << 63) - 1)
counts = st.integers(0, 1 << 40)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
credentials = st.builds(Credentials, **dict.fromkeys(Credentials.__slots__, st.none() | texts))
parts = st.builds(Part, number=counts, blob=texts, row_start=counts, rows=counts, resume_at=counts)
some_parts = st.lists(parts, max_size=2).map(tuple)
sources = st.none() | st.builds(BlobRange, blob=texts, start=counts, length=counts)
leased_versions = st.builds(
    LeasedVersion,
    id=ids, document=ids, external_id=texts, number=counts, extractor=texts, source=sources,
    metadata=st.dictionaries(texts, json, max_size=3), parts=some_parts, base=some_parts,
)  # fmt: skip
leases = st.builds(
    Lease,
    batch=ids, epoch=counts, kind=st.sampled_from(BatchKind), seconds=st.floats(1, 1000),
    attempt=counts, pipeline=st.just(PIPELINE), vectors=st.lists(texts, max_size=2).map(tuple),
    job=st.builds(
        LeasedJob, id=ids, document_id=texts, credentials=credentials, unsealed=st.booleans()
    ),
    index=st.builds(
        LeasedIndex, id=ids, ledger=texts, incarnation=texts, written=st.booleans()
    ),
    versions=st.lists(leased_versions, max_size=3).map(tuple), alone=st.booleans(),
)  # fmt: skip
new_parts = st.builds(NewPart, version=ids, part=parts, new_rows=counts, last=st.booleans())
usages = st.builds(Usage, chunks_embedded=counts, embedding_calls=counts, tokens=counts)
problems = st.one_of(
    st.builds(Throttled, texts, fix=texts, retry_after=st.none() | st.floats(0, 1e6)),
    st.builds(BadChunk, texts, fix=texts, position=counts),
    st.builds(KeyRefused, texts, fix=texts),
    st.builds(IndexLost, texts),
    st.builds(DimensionMismatch, texts, held=counts, got=counts),
    st.builds(ForeignIndex, texts, owner=texts),
    st.builds(UnknownPlugin, texts, texts, st.lists(texts, max_size=2)),
)
results = st.builds(
    Finished, lease=leases, parts=st.lists(new_parts, max_size=2).map(tuple), usage=usages,
    failures=st.dictionaries(ids, problems, max_size=2),
)  # fmt: skip

claimed, over = TypeAdapter(Claimed), TypeAdapter(Ended)


def facts(error: VectorFlowError) -> tuple[object, ...]:
    more = getattr(error, "retry_after", None), getattr(error, "position", None)
    return type(error), str(error), error.message, error.fix, *more


@given(st.lists(leases, max_size=3).map(tuple), st.dictionaries(texts, st.none() | texts))
def test_leases_arrive_as_they_were_sent(
    sent: tuple[Lease, ...], stores: dict[str, str | None]
) -> None:
    message = Claimed(leases=sent, stores=stores, providers={})

    assert claimed.validate_json(claimed.dump_json(message)) == message


@given(results)
def test_results_arrive_with_all_that_the_ledger_reads(sent: Finished) -> None:
    got = finished(over.validate_json(over.dump_json(ended(sent))))

    assert (got.parts, got.usage) == (sent.parts, sent.usage)
    assert (got.lease.batch, got.lease.epoch, got.lease.kind, got.lease.attempt) == (
        sent.lease.batch, sent.lease.epoch, sent.lease.kind, sent.lease.attempt,
    )  # fmt: skip
    assert [version.id for version in got.lease.versions] == [
        version.id for version in sent.lease.versions
    ]
    assert got.lease.index == sent.lease.index
    assert {key: facts(error) for key, error in got.failures.items()} == {
        key: facts(error) for key, error in sent.failures.items()
    }


@given(leases)
def test_no_credentials_and_no_manifests_go_back(lease: Lease) -> None:
    back = bare(lease, versions=True)

    assert back.job.credentials == NO_CREDENTIALS
    assert all(version.parts == version.base == () for version in back.versions)
    assert not any(version.external_id or version.metadata for version in back.versions)
    assert bare(lease).versions == ()


def _all(kind: type[VectorFlowError]) -> Iterator[type[VectorFlowError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _all(child)


@pytest.mark.parametrize("kind", list(_all(VectorFlowError)), ids=lambda kind: kind.code)
def test_every_error_is_the_same_on_the_other_side(kind: type[VectorFlowError]) -> None:
    error = kind.__new__(kind)
    VectorFlowError.__init__(error, "it is so", fix="do that")
    if isinstance(error, Transient):
        error.retry_after = 2.5
    if isinstance(error, BadChunk):
        error.position = 7

    assert facts(error_of(problem_of(error))) == facts(error)


class OutOfCredit(KeyRefused):
    """A plugin's own."""

    code = "out_of_credit"


class Odd(VectorFlowError):
    """Of neither family."""

    code = "odd"


def test_an_error_of_a_plugin_becomes_the_nearest_that_is_known() -> None:
    problem = problem_of(OutOfCredit("no money", fix="pay"))

    assert problem.codes == ("out_of_credit", "key_refused", "call_refused", "permanent", "error")
    assert facts(error_of(problem)) == facts(KeyRefused("no money", fix="pay"))
    later = replace(problem, codes=("out_of_credit", "of_a_later_release", "call_refused"))
    assert type(error_of(later)) is CallRefused
    assert type(error_of(Problem(codes=(), message=""))) is Permanent


def test_what_the_api_answers_is_read_by_its_code() -> None:
    lost = answered("index_lost", "it is gone", fix=IndexLost.fix)
    slow = answered("throttled", "wait", retry_after=3.0)

    assert lost is not None
    assert facts(lost) == facts(IndexLost("it is gone"))
    assert slow is not None
    assert facts(slow) == facts(Throttled("wait", retry_after=3.0))
    assert answered("error", "the server failed") is None
    assert answered("http_404", "there is no such route") is None


@given(st.dictionaries(st.integers(1, 10**18 - 1), st.integers(1, 10**9 - 1), max_size=MAX_LEASES))
def test_leases_are_named_in_a_header(names: dict[int, int]) -> None:
    assert read_names(names_of(names)) == (list(names.items()) or None)


@pytest.mark.parametrize(
    "header",
    ["", ",", "1", "1:", ":1", "1:1,", "-1:1", "1:1;2:2", "1:1 2:2", "٣:1", f"{10**18}:1",
     ",".join(["1:1"] * (MAX_LEASES + 1))],
)  # fmt: skip
def test_what_names_no_leases_is_refused(header: str) -> None:
    assert read_names(header) is None
