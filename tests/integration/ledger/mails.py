"""Mails and what is attached to them, for tests of the ledger."""

from collections.abc import Mapping

from vectorflow.domain.documents import content_hash
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import PretendWorker, Workplace


def served(place: Workplace) -> dict[str, str]:
    """What is live: raw hashes by external id."""
    query = """SELECT d.external_id, v.raw_hash FROM documents d
        JOIN versions v ON v.id = d.live_version WHERE d.deleted_at IS NULL"""
    return {str(name): str(digest) for name, digest in rows(place.database, query)}


def hashes(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: content_hash(text.encode()) for name, text in texts.items()}


def states(place: Workplace, name: str) -> list[str]:
    query = f"""SELECT v.state FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE d.external_id = '{name}' ORDER BY v.number"""  # noqa: S608 - our own names
    return [str(state) for (state,) in rows(place.database, query)]


async def send(
    worker: PretendWorker, place: Workplace, text: str, inside: Mapping[str, str]
) -> int:
    """Have a mail indexed with what is attached to it."""
    worker.attached = {"mail": inside}
    job = place.submit({"mail": text})
    await worker.run()
    return job
