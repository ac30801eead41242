"""What searches are served already, so that nothing is done twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, exists, select

from vectorflow.domain.documents import canonical_json, content_hash
from vectorflow.domain.jobs import VersionState
from vectorflow.domain.pipelines import Recipe
from vectorflow.ledger.families import inside, taken_since, with_attached
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import BY_ID, documents, versions

SETTLED = frozenset(
    {"unsupported_format", "binary_content", "empty_document", "broken_file", "encrypted_file"}
)
"""Why an attachment failed that would fail again for as long as its bytes are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the ledger already has of a document."""

    raw_hash: str
    recipe_hash: str
    parts: int
    """Of its manifest and those of its attachments."""
    settled: bool = True
    """All that is attached has ended as it would end next time, and is what this version has."""

    def equals(self, item: Accepted) -> bool:
        """Whether it was made of the same bytes by the same recipe, with all that is attached."""
        own, wanted = (self.raw_hash, self.recipe_hash), (item.raw_hash, item.recipe_hash)
        return self.settled and own == wanted


def serving(
    connection: Connection, *, index: int, scope: str, ids: Sequence[str], recipe: Recipe
) -> dict[str, Serving]:
    """Hashes of the documents that are live and have nothing newer under way."""
    attachment = documents.alias("attachment")
    statement = (
        select(
            documents.c.id,
            documents.c.external_id,
            versions.c.raw_hash,
            versions.c.recipe_hash,
            versions.c.parts_total,
            exists().where(attachment.c.parent_id == documents.c.id).label("is_outer"),
        )
        .join(versions, versions.c.id == documents.c.live_version)
        .where(
            documents.c.index_id == index,
            documents.c.scope == scope,
            documents.c.external_id.in_(ids),
            documents.c.open_version.is_(None),
        )
    )
    rows = connection.execute(statement).all()
    outers = [row.id for row in rows if row.is_outer]
    attached = _attached(connection, outers, recipe)
    return {
        row.external_id: Serving(
            raw_hash=row.raw_hash,
            recipe_hash=row.recipe_hash,
            parts=row.parts_total + attached.get(row.id, _NOTHING).parts,
            settled=attached.get(row.id, _NOTHING).settled,
        )
        for row in rows
    }


def unsettled(connection: Connection, outers: Sequence[int]) -> set[int]:
    """Those of these live documents whose attachments are not what that version has, or not yet."""
    found: set[int] = set()
    for some in slices(sorted(with_attached(connection, outers))):
        attached = _attached(connection, some, None)
        found.update(outer for outer, one in attached.items() if not one.settled)
    return found


def recipe_hash_of(recipe: Recipe, extractor: str, metadata: Mapping[str, object]) -> str:
    """Identity of what a recipe makes of an attachment; of one that nobody reads: by whom not."""
    if extractor in recipe.extractors:
        return recipe.digest(extractor, metadata)
    return content_hash(canonical_json(dict(recipe.extractors)).encode())


class _Attached(NamedTuple):
    """All that is attached to a document, at any depth."""

    parts: int
    settled: bool


_NOTHING = _Attached(parts=0, settled=True)


def _attached(
    connection: Connection, outers: Sequence[int], recipe: Recipe | None
) -> dict[int, _Attached]:
    """Look at what is attached to documents that something is or was attached to."""
    if not outers:
        return {}
    unfit = taken_since(connection, outers)
    family, live = inside(outers), versions.alias("live")
    rows = connection.execute(
        select(family.c.root, versions, live.c.parts_total.label("live_parts"))
        .join(documents, documents.c.id == family.c.id)
        .with_hint(documents, BY_ID, "mariadb")
        .join(
            versions,
            (versions.c.document_id == documents.c.id)
            & (versions.c.number == documents.c.last_version),
        )
        .join(live, live.c.id == documents.c.live_version, isouter=True)
    )
    found: dict[int, _Attached] = {}
    for row in rows:
        parts, settled = found.get(row.root, _Attached(0, settled=row.root not in unfit))
        found[row.root] = _Attached(
            parts=parts + (row.live_parts or 0), settled=settled and _is_settled(row, recipe)
        )
    return found


def _is_settled(newest: Row[Any], recipe: Recipe | None) -> bool:
    """Whether the newest version of an attachment need not be tried again, by this recipe."""
    if newest.state in {VersionState.WAITING, VersionState.INDEXING, VersionState.CANCELLED}:
        return False
    if newest.state in {VersionState.FAILED, VersionState.DISCARDED}:
        if not _fails_again(newest.error):
            return False
    elif newest.blob is None:
        return True  # deleted
    if recipe is None:
        return True
    return bool(newest.recipe_hash == recipe_hash_of(recipe, newest.extractor, newest.metadata))


def _fails_again(letter: Mapping[str, object]) -> bool:
    """Whether the bytes alone are the reason; `read` is what was refused before anybody read it."""
    return letter["stage"] == "read" or letter["code"] in SETTLED
