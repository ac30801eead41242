"""What is attached to documents: versions of its own, made with the outer document's last part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, select

from vectorflow.domain.attachments import MAX_DEPTH, attached_ids, attached_uri
from vectorflow.domain.pipelines import Pipeline, Recipe
from vectorflow.errors import DocumentFailed, LimitExceeded, UnsupportedFormat
from vectorflow.ledger.families import (
    ids_inside,
    is_kept,
    lock_together,
    locked_inside,
    with_attached,
)
from vectorflow.ledger.new_versions import (
    Accepted,
    Home,
    add_versions,
    home_of,
    lock_documents,
    made_documents,
)
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.serving import recipe_hash_of, serving
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, jobs, pipelines
from vectorflow.ledger.tally import Tally
from vectorflow.ports.work import NewAttached, NewPart

ATTACHED_TO = "attached_to"
"""In the metadata of an attachment: the external id of what it is attached to."""

_pipelines = TypeAdapter(Pipeline)


@dataclass(frozen=True, slots=True)
class _Outer:
    """A version whose text is committed whole now, and what was found in it."""

    version: Row[Any]
    attached: tuple[NewAttached, ...]

    @property
    def id(self) -> int:
        """Of its document."""
        return int(self.version.document_id)


def take_attached(
    connection: Connection,
    outcomes: Outcomes,
    tally: Tally,
    made: Sequence[tuple[Row[Any], Sequence[NewPart]]],
    rows: Mapping[int, Row[Any]],
) -> None:
    """Bring what is attached to documents in line with their last parts.

    New and changed attachments get versions in the job of their document, unchanged ones nothing,
    and those that are not there any more are deleted, with all that is attached to them.

    Args:
        connection: Of the transaction that commits the parts.
        outcomes: Takes the deletions.
        tally: Of the same jobs.
        made: Batches, and the parts that each made.
        rows: Open versions of these batches by id, locked.
    """
    found = [(batch, _outers(parts, rows)) for batch, parts in made]
    outers = {outer.id: outer for _, some in found for outer in some}
    changing = {key for key, outer in outers.items() if outer.attached}
    changing |= with_attached(connection, list(outers))
    if not changing:
        return
    ending = {row.document_id for row in rows.values()}
    takes = [
        (batch, _home(connection, batch), kept)
        for batch, some in found
        if (kept := [outer for outer in some if outer.id in changing])
    ]
    named = {key for _, home, kept in takes for key in _made(connection, home, kept)}
    lock_together(connection, named | ending | ids_inside(connection, changing | ending))
    for batch, home, kept in takes:
        _take(connection, outcomes, tally, (batch, home), kept)
    outcomes.flush()


def _home(connection: Connection, batch: Row[Any]) -> Home:
    return home_of(connection.execute(select(jobs).where(jobs.c.id == batch.job_id)).one())


def _made(connection: Connection, home: Home, outers: Sequence[_Outer]) -> set[int]:
    """Make the documents that the attachments would be; gives their ids."""
    owners = _documents(connection, [outer.id for outer in outers])
    names = [
        name
        for outer in outers
        for name in attached_ids(owners[outer.id].external_id, _names(outer), set())
    ]
    return set(made_documents(connection, home, names).values())


def _names(outer: _Outer) -> list[str]:
    return [one.name for one in outer.attached]


def _outers(parts: Sequence[NewPart], rows: Mapping[int, Row[Any]]) -> list[_Outer]:
    return [
        _Outer(rows[new.version], new.attached) for new in parts if new.last and new.version in rows
    ]


def _take(
    connection: Connection,
    outcomes: Outcomes,
    tally: Tally,
    place: tuple[Row[Any], Home],
    outers: Sequence[_Outer],
) -> None:
    """Take what is attached to documents of one batch; all of them are locked."""
    batch, home = place
    recipe = _recipe(connection, batch.pipeline_id)
    owners = _documents(connection, [outer.id for outer in outers])
    depths = _depths(connection, owners)
    ids = _named(connection, home, outers, owners)
    items = [
        _accepted(outer, owners[outer.id], name, one, recipe, deep=depths[outer.id] >= MAX_DEPTH)
        for outer in outers
        for name, one in zip(ids[outer.id], outer.attached, strict=True)
    ]
    add_versions(connection, home, _changed(connection, home, items, recipe), tally)
    kept = {item.external_id for item in items}
    there = locked_inside(connection, list(owners))
    outcomes.delete(home, [row for row in there if row.external_id not in kept])


def _recipe(connection: Connection, pipeline: int) -> Recipe:
    spec = connection.execute(select(pipelines.c.spec).where(pipelines.c.id == pipeline))
    return _pipelines.validate_python(spec.scalar_one()).recipe


def _documents(connection: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    rows = connection.execute(select(documents).where(documents.c.id.in_(ids)))
    return {row.id: row for row in rows}


def _depths(connection: Connection, owners: Mapping[int, Row[Any]]) -> dict[int, int]:
    """Count the documents around each of these, as far as it matters."""
    depths = dict.fromkeys(owners, 0)
    above = {key: row.parent_id for key, row in owners.items() if row.parent_id is not None}
    for _ in range(MAX_DEPTH):
        for key in above:
            depths[key] += 1
        parents = _documents(connection, list(above.values())) if above else {}
        above = {
            key: parents[parent].parent_id
            for key, parent in above.items()
            if parents[parent].parent_id is not None
        }
    return depths


def _named(
    connection: Connection,
    home: Home,
    outers: Sequence[_Outer],
    owners: Mapping[int, Row[Any]],
) -> dict[int, list[str]]:
    """Give an external id to each attachment, and lock the documents; by outer document.

    An id that somebody else's document has is left to that.
    """
    taken: set[str] = set()
    while True:
        ids = {
            outer.id: attached_ids(owners[outer.id].external_id, _names(outer), taken)
            for outer in outers
        }
        names = [name for some in ids.values() for name in some]
        known = lock_documents(connection, home, names)
        foreign = {
            name
            for outer, some in ids.items()
            for name in some
            if is_kept(known[name]) and known[name].parent_id != outer
        }
        if not foreign:
            return ids
        taken |= foreign


def _accepted(
    outer: _Outer, owner: Row[Any], name: str, one: NewAttached, recipe: Recipe, *, deep: bool
) -> Accepted:
    metadata = {**outer.version.metadata, ATTACHED_TO: owner.external_id}
    failure = _failure(name, one, deep=deep)
    return Accepted(
        external_id=name,
        uri=attached_uri(outer.version.uri, one.name),
        raw_hash=one.raw_hash,
        recipe_hash=recipe_hash_of(recipe, one.extractor, metadata),
        extractor=one.extractor,
        source=None if failure else one.source,
        metadata=metadata,
        failure=failure,
        parent=owner.id,
    )


def _failure(name: str, one: NewAttached, *, deep: bool) -> DocumentFailed | None:
    if deep:
        message = f"{name!r} lies in more than {MAX_DEPTH} documents inside of each other"
        return LimitExceeded("depth", message, fix="send it by itself")
    if one.source is None:
        return UnsupportedFormat(one.reason or "no extractor reads it", fix=one.fix)
    return None


def _changed(
    connection: Connection, home: Home, items: Sequence[Accepted], recipe: Recipe
) -> list[Accepted]:
    """Leave out what is served as it is."""
    changed: list[Accepted] = []
    for some in slices(items):
        ids = [item.external_id for item in some]
        known = serving(connection, index=home.index, scope=home.scope, ids=ids, recipe=recipe)
        changed += [
            item
            for item in some
            if item.failure or not (live := known.get(item.external_id)) or not live.equals(item)
        ]
    return changed
