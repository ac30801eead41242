"""Those who want documents embedded: one keeps a folder in step, one uploads single files.

Each works in a thread of its own until the storm has lasted long enough. What they hold as `texts`
when they have ended is what must be searchable.
"""

import asyncio
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import Connection, func, select

from tests.acceptance import corpus
from tests.storm import documents
from tests.storm.site import DIMENSIONS, MODEL, Process, Site
from vectorflow.errors import VectorFlowError
from vectorflow.ledger.tables import jobs

UPLOADS_AT_ONCE = 24
ROUND_SECONDS = 8.0
"""Between two rounds of edits."""

ACCEPTED = {0, 3, 4}
"""Exit statuses of `embed` that tell how its job ended."""

LOOK_SECONDS = 0.25
RETRY_SECONDS = 0.5
GIVE_UP_SECONDS = 120.0
"""After which a document that nobody accepts is a failure of the storm's own."""


class Client:
    """Changes and sends documents in a thread."""

    def __init__(self, site: Site, count: int, chance: random.Random) -> None:
        self.site = site
        self.texts: dict[str, str] = {}
        """What is to be searchable, by external id."""
        self.rounds = 0
        self.edits = 0
        """Documents changed, deleted and added after the first round."""
        self.sent = 0
        self.accepted = 0
        self.last = 0.0
        """When something was accepted last (monotonic)."""
        self.failure = ""
        """Why it ended before its time."""
        self._count = count
        self._chance = chance
        self._until = time.monotonic() + site.options.seconds
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def _note_accepted(self) -> None:
        self.accepted += 1
        self.last = time.monotonic()

    def join(self) -> None:
        self._thread.join()

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the storm has failed
            self.failure = f"{type(error).__name__}: {error}"

    def _run(self) -> None:
        """Send all, and edit and send again until it is time, once at least."""
        self._first()
        while self.rounds < 2 or time.monotonic() < self._until:
            pause = min(ROUND_SECONDS, self.site.options.seconds / 3)
            time.sleep(max(0.0, pause))
            self._again()

    def _first(self) -> None:
        raise NotImplementedError

    def _again(self) -> None:
        raise NotImplementedError


class FolderClient(Client):
    """Runs `vectorflow embed DIR` after each round of edits, again until it is accepted."""

    def __init__(self, site: Site, count: int, chance: random.Random) -> None:
        super().__init__(site, count, chance)
        self.submitters: list[Process] = []
        """Whose listing was accepted; each ends with its job."""
        self.broken: list[Process] = []
        """Those that ended before that."""
        self._made = 0

    def _first(self) -> None:
        self._write({name: documents.text_of(name, 0) for name in self._new(self._count)})
        self._submit()

    def _again(self) -> None:
        chance, step = self._chance, self.rounds
        changed = documents.some(sorted(self.texts), documents.CHANGED, chance)
        gone = documents.some(sorted(self.texts), documents.GONE, chance)
        self._write(
            {name: documents.edited(name, self.texts[name], chance, step) for name in changed}
        )
        for name in gone:
            (self.site.docs / name).unlink()
            del self.texts[name]
        self._write({name: documents.text_of(name, 0) for name in self._new(len(gone))})
        self.edits += len(changed) + 2 * len(gone)
        self._submit()

    def _new(self, count: int) -> list[str]:
        new = documents.names("file", count, since=self._made)
        self._made += count
        return new

    def _write(self, texts: Mapping[str, str]) -> None:
        corpus.write(self.site.docs, texts)
        self.texts |= texts

    def _submit(self) -> None:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            known = self._ask(_newest_listing)
            if known is None:
                continue
            self.sent += 1
            submitter = self.site.start_submitter()
            if self._is_accepted(submitter, known, deadline):
                self.submitters.append(submitter)
                self._note_accepted()
                self.rounds += 1
                return
            self.broken.append(submitter)
        raise TimeoutError("nobody accepts the folder")

    def _is_accepted(self, submitter: Process, known: int, deadline: float) -> bool:
        """Wait until its listing is durable; False if it ended without that."""
        while time.monotonic() < deadline:
            status = submitter.running.poll()
            if status is not None:
                return status in ACCEPTED
            if self._ask(partial(_is_listed, known=known)):
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def _ask(self, query: Callable[[Connection], int]) -> int | None:
        """Ask the ledger; None while it is away."""
        try:
            return self.site.database.read_now(query)
        except VectorFlowError:
            return None


def _newest_listing(connection: Connection) -> int:
    found = select(func.max(jobs.c.id)).where(jobs.c.scope != "")
    return int(connection.execute(found).scalar() or 0)


def _is_listed(connection: Connection, known: int) -> int:
    found = select(func.count()).where(
        jobs.c.scope != "",
        jobs.c.id > known,
        jobs.c.docs_total.is_not(None),
        jobs.c.error.is_(None),
    )
    return int(connection.execute(found).scalar_one())


class UploadClient(Client):
    """Uploads single files, each with an idempotency key, again until it is accepted."""

    def __init__(self, site: Site, count: int, chance: random.Random) -> None:
        super().__init__(site, count, chance)
        self.keys: dict[str, int] = {}
        """Job by idempotency key, as it was answered."""
        self.refused: list[str] = []
        """Answers that no later try would change."""

    def _first(self) -> None:
        new = documents.names("upload", self._count)
        self._send({name: documents.text_of(name, 0) for name in new})

    def _again(self) -> None:
        chance, step = self._chance, self.rounds
        changed = documents.some(sorted(self.texts), documents.CHANGED, chance)
        self.edits += len(changed)
        self._send(
            {name: documents.edited(name, self.texts[name], chance, step) for name in changed}
        )

    def _send(self, texts: Mapping[str, str]) -> None:
        asyncio.run(self._send_all(texts))
        self.rounds += 1

    async def _send_all(self, texts: Mapping[str, str]) -> None:
        slots = asyncio.Semaphore(UPLOADS_AT_ONCE)
        headers = {"VectorFlowKey": self.site.canaries.api}
        headers |= {"X-EmbeddingAPI-Key": self.site.canaries.provider}
        async with httpx.AsyncClient(
            base_url=self.site.api_url, headers=headers, timeout=30
        ) as client:
            await asyncio.gather(
                *(self._send_one(client, slots, name, text) for name, text in texts.items())
            )

    async def _send_one(
        self, client: httpx.AsyncClient, slots: asyncio.Semaphore, name: str, text: str
    ) -> None:
        key = uuid.uuid4().hex
        async with slots:
            deadline = time.monotonic() + GIVE_UP_SECONDS
            while time.monotonic() < deadline:
                self.sent += 1
                answer = await _upload(client, name, text, key)
                if answer is not None and answer.is_success:
                    self.keys[key] = int(answer.json()["JobID"])
                    self.texts[name] = text
                    self._note_accepted()
                    return
                if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                    self.refused.append(f"{answer.status_code} {answer.text[:200]}")
                    return
                await asyncio.sleep(RETRY_SECONDS)
        message = f"nobody accepts {name}"
        raise TimeoutError(message)


async def _upload(
    client: httpx.AsyncClient, name: str, text: str, key: str
) -> httpx.Response | None:
    """Send one file; None where no answer came."""
    embeddings = {
        "embeddings_type": "OPEN_AI",
        "model": f"{MODEL}@{DIMENSIONS}",
        "chunk_size": documents.CHUNK_TOKENS,
        "chunk_overlap": documents.CHUNK_TOKENS // 8,
    }
    store = {"vector_db_type": "PGVECTOR", "index_name": "storm", "environment": ""}
    fields = {
        "EmbeddingsMetadata": json.dumps(embeddings),
        "VectorDBMetadata": json.dumps(store),
        "DocumentID": name,
    }
    file = (Path(name).name, text.encode(), "text/plain")
    try:
        return await client.post(
            "/embed", data=fields, files={"SourceData": file}, headers={"Idempotency-Key": key}
        )
    except httpx.TransportError:
        return None
