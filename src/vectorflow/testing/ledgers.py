"""What must hold in a ledger at any moment, whoever was killed before: for tests that break things.

Each law is a query for the rows that break it.
"""

from collections.abc import Sequence

from vectorflow.ledger.database import Database

ALWAYS = {
    "the open version of a document is the one that is being indexed": """
        SELECT d.id, v.id, v.state FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE (v.state = 'indexing') != (d.open_version IS NOT NULL AND d.open_version = v.id)""",
    "the next version of a document is the one that waits": """
        SELECT d.id, v.id, v.state FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE (v.state = 'waiting') != (d.next_version IS NOT NULL AND d.next_version = v.id)""",
    "the live version of a document is the one in that state": """
        SELECT d.id, v.id, v.state FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE (v.state = 'live') != (d.live_version IS NOT NULL AND d.live_version = v.id)""",
    "a version waits only for an open one": """
        SELECT id FROM documents WHERE next_version IS NOT NULL AND open_version IS NULL""",
    "versions are counted from 1 without gaps": """
        SELECT d.id, d.last_version, count(v.id), max(v.number), count(DISTINCT v.number)
        FROM documents d LEFT JOIN versions v ON v.document_id = d.id GROUP BY d.id, d.last_version
        HAVING count(v.id) != d.last_version OR count(DISTINCT v.number) != d.last_version
            OR coalesce(max(v.number), 0) != d.last_version""",
    "a manifest is whole": """
        SELECT v.id, v.rows, count(p.number), max(p.number)
        FROM versions v LEFT JOIN parts p ON p.version_id = v.id
        GROUP BY v.id, v.rows, v.parts_total, v.parts_done, v.new_rows
        HAVING coalesce(sum(p.rows), 0) != v.rows
            OR coalesce(max(p.number) + 1, 0) != count(p.number)
            OR v.parts_total != count(p.number) OR v.parts_done > count(p.number)
            OR v.new_rows > v.rows""",
    "what is live is stored whole": """
        SELECT id FROM versions
        WHERE state = 'live' AND (parts_total IS NULL OR parts_done != parts_total)""",
    "every open version is in the hands of an open batch": """
        SELECT v.id FROM versions v WHERE v.state = 'indexing' AND NOT EXISTS (
            SELECT 1 FROM batches b WHERE b.state IN ('ready', 'leased')
            AND b.kind IN ('extract', 'embed') AND (b.id = v.batch_id OR b.version_id = v.id))""",
    "only open versions and those to retire are in a batch": """
        SELECT v.id, v.state, v.batch_id FROM versions v LEFT JOIN batches b ON b.id = v.batch_id
        WHERE v.batch_id IS NOT NULL AND v.state != 'indexing'
        AND NOT (v.state IN ('retired', 'failed') AND b.kind = 'retire'
                 AND b.state IN ('ready', 'leased'))""",
    "every try ends with one row": """
        SELECT b.id, b.state, b.lease_epoch, count(a.epoch)
        FROM batches b LEFT JOIN attempts a ON a.batch_id = b.id
        GROUP BY b.id, b.state, b.lease_epoch
        HAVING count(a.epoch) != b.lease_epoch - CASE WHEN b.state = 'leased' THEN 1 ELSE 0 END""",
    "a batch succeeds once, and only then is it done": """
        SELECT b.id, b.state FROM batches b LEFT JOIN attempts a
        ON a.batch_id = b.id AND a.outcome = 'ok' GROUP BY b.id, b.state
        HAVING count(a.epoch) != CASE WHEN b.state = 'done' THEN 1 ELSE 0 END""",
    "only tries that failed or succeeded count": """
        SELECT b.id, b.state, b.attempt FROM batches b LEFT JOIN attempts a
        ON a.batch_id = b.id AND a.outcome IN ('ok', 'error')
        WHERE b.state != 'cancelled' GROUP BY b.id, b.state, b.attempt
        HAVING b.attempt != count(a.epoch) + CASE WHEN b.state = 'leased' THEN 1 ELSE 0 END""",
    "lost tries are counted apart": """
        SELECT b.id FROM batches b LEFT JOIN attempts a
        ON a.batch_id = b.id AND a.outcome = 'lost' GROUP BY b.id, b.lost
        HAVING b.lost != count(a.epoch)""",
    "a job counts what became of its documents": """
        SELECT j.id, j.docs_done, j.docs_failed FROM jobs j LEFT JOIN versions v ON v.job_id = j.id
        GROUP BY j.id, j.docs_done, j.docs_failed
        HAVING j.docs_failed != count(CASE WHEN v.state = 'failed' THEN 1 END)
            OR j.docs_done
            != count(CASE WHEN v.state IN ('live', 'retired', 'superseded') THEN 1 END)""",
    "a job counts what was accepted": """
        SELECT j.id, j.docs_total FROM jobs j LEFT JOIN versions v ON v.job_id = j.id
        GROUP BY j.id, j.docs_total, j.documents_new, j.documents_changed, j.documents_gone
        HAVING j.documents_new + j.documents_changed + j.documents_gone != count(v.id)
            OR j.docs_total != count(v.id)""",
    "a job counts its open clean-up": """
        SELECT j.id, j.cleanup_open FROM jobs j LEFT JOIN batches b
        ON b.job_id = j.id AND b.kind = 'retire' AND b.state IN ('ready', 'leased')
        GROUP BY j.id, j.cleanup_open HAVING j.cleanup_open != count(b.id)""",
    "a job ends with its last document and its clean-up, and not before": """
        SELECT id, state, docs_total, docs_done, docs_failed, cleanup_open FROM jobs
        WHERE (state IN ('completed', 'partial', 'failed')) != (docs_total IS NOT NULL
            AND docs_done + docs_failed = docs_total AND cleanup_open = 0)""",
    "a job that completed lost no document": """
        SELECT id FROM jobs WHERE (state = 'completed' AND docs_failed > 0)
        OR (state = 'failed' AND docs_done > 0) OR (state = 'partial' AND docs_failed = 0
        AND error IS NULL)""",
}

WHEN_ALL_IS_DONE = {
    "no batch is left": "SELECT id, kind, state FROM batches WHERE state IN ('ready', 'leased')",
    "every version has ended": """
        SELECT id, state FROM versions WHERE state IN ('indexing', 'waiting')""",
    "every job has ended": "SELECT id, state FROM jobs WHERE state IN ('running', 'paused')",
}

TABLES = (
    "identity", "pipelines", "indexes", "documents", "versions", "parts", "jobs", "batches",
    "attempts", "duties", "api_keys", "credentials", "secrets",
)  # fmt: skip


def broken_laws(
    database: Database, *, all_done: bool = False
) -> dict[str, list[tuple[object, ...]]]:
    """Give the rows that break a law, by law; empty in a ledger that is in order."""
    laws = ALWAYS | WHEN_ALL_IS_DONE if all_done else ALWAYS
    found = {law: rows(database, query) for law, query in laws.items()}
    return {law: broken for law, broken in found.items() if broken}


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    """Give the rows of a query."""
    return database.read_now(
        lambda connection: [tuple(row) for row in connection.exec_driver_sql(query)]
    )


def dump(database: Database, tables: Sequence[str] = TABLES) -> dict[str, list[str]]:
    """Write down whole tables, to compare before and after."""
    return {
        table: sorted(map(repr, rows(database, f"SELECT * FROM {table}")))  # noqa: S608 - our names
        for table in tables
    }
