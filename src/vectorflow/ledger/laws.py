"""What must hold in a ledger at any moment, whoever was killed before.

Each law is a query for the rows that break it; it reads whole tables.
"""

from sqlalchemy import Connection

MOST = 1000
"""Rows of one law that are given."""

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
    "the newest version of a document is there, and no number comes twice": """
        SELECT d.id, d.last_version, count(v.id), max(v.number), count(DISTINCT v.number)
        FROM documents d LEFT JOIN versions v ON v.document_id = d.id GROUP BY d.id, d.last_version
        HAVING count(DISTINCT v.number) != count(v.id) OR min(v.number) < 1
            OR coalesce(max(v.number), 0) != d.last_version""",
    "what is attached to a document that is deleted is deleted, or will be next": """
        SELECT a.id, a.external_id FROM documents a JOIN documents d ON d.id = a.parent_id
        LEFT JOIN versions n ON n.id = a.next_version
        WHERE d.deleted_at IS NOT NULL AND d.open_version IS NULL
        AND (a.deleted_at IS NULL OR a.open_version IS NOT NULL)
        AND (n.id IS NULL OR n.blob IS NOT NULL)""",
    "nothing is served of a document that is deleted": """
        SELECT d.id, d.deleted_at FROM documents d JOIN versions v ON v.id = d.live_version
        WHERE d.deleted_at IS NOT NULL AND v.blob IS NOT NULL""",
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
    "what is leased is somebody's until some time": """
        SELECT id, lease_owner FROM batches WHERE state = 'leased'
        AND (lease_owner IS NULL OR lease_until IS NULL OR leased_at IS NULL)""",
    "what a document points to is there": """
        SELECT d.id, d.live_version, d.open_version, d.next_version FROM documents d
        LEFT JOIN versions a ON a.id = d.live_version AND a.document_id = d.id
        LEFT JOIN versions b ON b.id = d.open_version AND b.document_id = d.id
        LEFT JOIN versions c ON c.id = d.next_version AND c.document_id = d.id
        LEFT JOIN indexes i ON i.id = d.index_id
        WHERE (d.live_version IS NOT NULL AND a.id IS NULL) OR i.id IS NULL
            OR (d.open_version IS NOT NULL AND b.id IS NULL)
            OR (d.next_version IS NOT NULL AND c.id IS NULL)""",
    "a version has a document and a job": """
        SELECT v.id, v.document_id, v.job_id FROM versions v
        LEFT JOIN documents d ON d.id = v.document_id LEFT JOIN jobs j ON j.id = v.job_id
        LEFT JOIN pipelines p ON p.id = v.pipeline_id
        WHERE d.id IS NULL OR j.id IS NULL OR p.id IS NULL""",
    "a part has a version": """
        SELECT p.version_id, p.number FROM parts p
        LEFT JOIN versions v ON v.id = p.version_id WHERE v.id IS NULL""",
    "a batch has a job and an index": """
        SELECT b.id, b.job_id, b.index_id FROM batches b
        LEFT JOIN jobs j ON j.id = b.job_id LEFT JOIN indexes i ON i.id = b.index_id
        WHERE j.id IS NULL OR i.id IS NULL""",
    "what is tried is a batch": """
        SELECT a.batch_id, a.epoch FROM attempts a
        LEFT JOIN batches b ON b.id = a.batch_id WHERE b.id IS NULL""",
    "a job has an index and settings": """
        SELECT j.id, j.index_id, j.pipeline_id FROM jobs j LEFT JOIN indexes i ON i.id = j.index_id
        LEFT JOIN pipelines p ON p.id = j.pipeline_id WHERE i.id IS NULL OR p.id IS NULL""",
    "credentials belong to a job": """
        SELECT c.job_id FROM credentials c LEFT JOIN jobs j ON j.id = c.job_id
        WHERE j.id IS NULL""",
    "every open version is in the hands of an open batch": """
        SELECT v.id FROM versions v WHERE v.state = 'indexing' AND NOT EXISTS (
            SELECT 1 FROM batches b WHERE b.state IN ('ready', 'paused', 'leased')
            AND b.kind IN ('extract', 'embed') AND (b.id = v.batch_id OR b.version_id = v.id))""",
    "only open versions and those to retire are in a batch": """
        SELECT v.id, v.state, v.batch_id FROM versions v LEFT JOIN batches b ON b.id = v.batch_id
        WHERE v.batch_id IS NOT NULL AND v.state != 'indexing'
        AND NOT (v.state NOT IN ('waiting', 'live') AND b.kind = 'retire'
                 AND b.state IN ('ready', 'paused', 'leased'))""",
    "a batch waits only for a paused job, and what deletes never, or for a system": """
        SELECT b.id, b.kind, j.state FROM batches b JOIN jobs j ON j.id = b.job_id
        WHERE b.state = 'paused' AND b.bucket_id IS NULL
        AND (b.kind = 'retire' OR j.state != 'paused')""",
    "a batch waits for no system that answers": """
        SELECT b.id, s.state FROM batches b LEFT JOIN buckets s ON s.id = b.bucket_id
        WHERE b.state = 'paused' AND b.bucket_id IS NOT NULL
        AND (s.id IS NULL OR s.state = 'open')""",
    "every batch has its place in the lane of its job": """
        SELECT b.id, b.lane, b.virtual_time, j.lane FROM batches b JOIN jobs j ON j.id = b.job_id
        WHERE b.virtual_time < 0 OR b.lane != coalesce(j.lane, 1)""",
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
        GROUP BY j.id, j.docs_done, j.docs_failed, j.versions_gone
        HAVING j.docs_failed - count(CASE WHEN v.state IN ('failed', 'discarded') THEN 1 END)
            NOT BETWEEN 0 AND coalesce(j.versions_gone, 0)
            OR j.docs_done
            - count(CASE WHEN v.state IN ('live', 'retired', 'superseded') THEN 1 END)
            NOT BETWEEN 0 AND coalesce(j.versions_gone, 0)""",
    "a job counts what was accepted": """
        SELECT j.id, j.docs_total FROM jobs j
        LEFT JOIN versions v ON v.job_id = j.id AND v.state != 'retried'
        GROUP BY j.id, j.docs_total, j.documents_new, j.documents_changed, j.documents_gone,
            j.versions_gone
        HAVING j.documents_new + j.documents_changed + j.documents_gone
            != count(v.id) + coalesce(j.versions_gone, 0)
            OR j.docs_total != count(v.id) + coalesce(j.versions_gone, 0)""",
    "a job counts its open clean-up": """
        SELECT j.id, j.cleanup_open FROM jobs j LEFT JOIN batches b
        ON b.job_id = j.id AND b.kind = 'retire' AND b.state IN ('ready', 'paused', 'leased')
        GROUP BY j.id, j.cleanup_open HAVING j.cleanup_open != count(b.id)""",
    "what deletes is never given up": """
        SELECT id, job_id FROM batches WHERE kind = 'retire' AND state = 'dead'""",
    # But for single versions that a worker wrote after all: their clean-up may come after the end.
    "a job ends with its last document and its clean-up, and not before": """
        SELECT id, state, docs_total, docs_done, docs_failed, cleanup_open FROM jobs j
        WHERE state != 'cancelled' AND (
            (state IN ('completed', 'partial', 'failed')) != (docs_total IS NOT NULL
            AND docs_done + docs_failed = docs_total
            AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.job_id = j.id AND b.kind = 'retire'
                AND b.state IN ('ready', 'paused', 'leased')
                AND (b.version_id IS NULL OR j.ended_at IS NULL))))""",
    "a cancelled job ends with its clean-up": """
        SELECT id, ended_at, cleanup_open FROM jobs
        WHERE state = 'cancelled' AND (ended_at IS NULL) != (cleanup_open > 0)""",
    "a job that was cancelled has nothing open": """
        SELECT v.id, v.state FROM versions v JOIN jobs j ON j.id = v.job_id
        WHERE j.state = 'cancelled' AND v.state IN ('waiting', 'indexing')""",
    "a job says why it is paused, and only then": """
        SELECT id, state FROM jobs WHERE (state = 'paused') != (paused IS NOT NULL)""",
    "what came with a request is erased when its job ends": """
        SELECT j.id, j.state FROM credentials c JOIN jobs j ON j.id = c.job_id
        WHERE j.ended_at IS NOT NULL""",
    "what was retried failed, and a newer version counts for it": """
        SELECT v.id FROM versions v JOIN documents d ON d.id = v.document_id
        WHERE v.state = 'retried' AND (v.error IS NULL OR d.last_version <= v.number)""",
    "a job that completed lost no document": """
        SELECT id FROM jobs WHERE (state = 'completed' AND docs_failed > 0)
        OR (state = 'failed' AND docs_done > 0) OR (state = 'partial' AND docs_failed = 0
        AND error IS NULL)""",
}

WHEN_ALL_IS_DONE = {
    "no attachment outlives its document": """
        SELECT a.id, a.external_id FROM documents a JOIN documents d ON d.id = a.parent_id
        WHERE d.deleted_at IS NOT NULL AND a.deleted_at IS NULL""",
    "no batch is left": "SELECT id, kind, state FROM batches"
    " WHERE state IN ('ready', 'paused', 'leased')",
    "every version has ended": """
        SELECT id, state FROM versions WHERE state IN ('indexing', 'waiting')""",
    "every job has ended": "SELECT id, state FROM jobs WHERE state IN ('running', 'paused')",
}


def broken(
    connection: Connection, *, all_done: bool = False
) -> dict[str, list[tuple[object, ...]]]:
    """Give rows that break a law, by law; empty in a ledger that is in order."""
    laws = ALWAYS | WHEN_ALL_IS_DONE if all_done else ALWAYS
    found = {law: connection.exec_driver_sql(query).fetchmany(MOST) for law, query in laws.items()}
    return {law: [tuple(row) for row in rows] for law, rows in found.items() if rows}
