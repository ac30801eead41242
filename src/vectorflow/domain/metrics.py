"""The figures that monitoring systems collect: their names, and what each means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from vectorflow.domain.duties import Trouble
from vectorflow.domain.jobs import LANES, BatchKind, JobState, Outcome
from vectorflow.domain.outages import SystemKind

CounterName = Literal[
    "vectorflow_batches_total",
    "vectorflow_embedding_texts_total",
    "vectorflow_embedding_tokens_total",
    "vectorflow_provider_calls_total",
    "vectorflow_queue_messages_sent_total",
    "vectorflow_queue_messages_received_total",
    "vectorflow_queue_errors_total",
    "vectorflow_vector_cache_hits_total",
    "vectorflow_vector_cache_misses_total",
]
"""Counted by a process since it started."""

HistogramName = Literal["vectorflow_stage_duration_seconds"]
"""The same, by how long it took."""

GaugeName = Literal[
    "vectorflow_info",
    "vectorflow_ledger_up",
    "vectorflow_backlog_batches",
    "vectorflow_oldest_ready_age_seconds",
    "vectorflow_waiting_versions",
    "vectorflow_open_jobs",
    "vectorflow_paused_jobs",
    "vectorflow_dead_letters",
    "vectorflow_outages",
    "vectorflow_duty_last_run_timestamp_seconds",
    "vectorflow_duty_last_success_timestamp_seconds",
    "vectorflow_duty_duration_seconds",
    "vectorflow_duty_trouble",
]
"""As things stand, by the ledger."""

MetricName = CounterName | HistogramName | GaugeName

StageName = Literal["extract", "embed", "store", "retire"]

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure, or one for each value of its labels.

    No label tells a tenant, a job, an index, an address or anything else that users wrote.
    """

    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The values of each label; none where plugins, duties, errors or releases make them."""


class Sample(NamedTuple):
    """One figure as it stands."""

    name: GaugeName
    value: float
    labels: Mapping[str, str] = {}


OPEN_JOBS = (JobState.RUNNING, JobState.PAUSED)

_LANES = tuple(lane.name.lower() for lane in LANES)
_KINDS = tuple(BatchKind)

METRICS: Mapping[MetricName, Metric] = {
    "vectorflow_info": Metric(
        kind="gauge",
        unit="",
        meaning="Always 1; its label is the release that answers.",
        labels={"version": ()},
    ),
    "vectorflow_ledger_up": Metric(
        kind="gauge",
        unit="",
        meaning="1 if the ledger could be read, else 0, and nothing else of it is told.",
    ),
    "vectorflow_backlog_batches": Metric(
        kind="gauge",
        unit="batches",
        meaning="Batches that are open. `ready`: a worker could take them now; `leased`: a worker"
        " has them; `delayed`: they are tried again later; `paused`: they wait for their job, or"
        " for a system that is away.",
        labels={"lane": _LANES, "kind": _KINDS, "state": ("ready", "leased", "delayed", "paused")},
    ),
    "vectorflow_oldest_ready_age_seconds": Metric(
        kind="gauge",
        unit="seconds",
        meaning="For how long the batch that is ready longest waits for a worker; 0 if none is.",
        labels={"lane": _LANES, "kind": _KINDS},
    ),
    "vectorflow_waiting_versions": Metric(
        kind="gauge",
        unit="versions",
        meaning="Versions of documents for which an older one has to end first.",
    ),
    "vectorflow_open_jobs": Metric(
        kind="gauge",
        unit="jobs",
        meaning="Jobs that have not ended.",
        labels={"state": OPEN_JOBS},
    ),
    "vectorflow_paused_jobs": Metric(
        kind="gauge",
        unit="jobs",
        meaning="Jobs that wait for somebody, by why: `operator`, or the code of an error.",
        labels={"reason": ()},
    ),
    "vectorflow_dead_letters": Metric(
        kind="gauge",
        unit="versions",
        meaning="Failures of documents that nobody has retried or discarded, and no later version"
        " has replaced.",
    ),
    "vectorflow_outages": Metric(
        kind="gauge",
        unit="systems",
        meaning="Providers, stores, webhooks and validation hooks that are away, and that work"
        " waits for.",
        labels={"system": tuple(SystemKind)},
    ),
    "vectorflow_duty_last_run_timestamp_seconds": Metric(
        kind="gauge",
        unit="seconds since 1970",
        meaning="When the duty was begun last, by the clock of the ledger.",
        labels={"duty": ()},
    ),
    "vectorflow_duty_last_success_timestamp_seconds": Metric(
        kind="gauge",
        unit="seconds since 1970",
        meaning="When a run of the duty ended well last; absent while the last one that ended did"
        " not.",
        labels={"duty": ()},
    ),
    "vectorflow_duty_duration_seconds": Metric(
        kind="gauge",
        unit="seconds",
        meaning="How long the last run of the duty took; while one is under way, since it began.",
        labels={"duty": ()},
    ),
    "vectorflow_duty_trouble": Metric(
        kind="gauge",
        unit="",
        meaning="1 for what keeps the duty from being done, else 0. `failed`: the last run ended"
        " with an error; `stuck`: a run does not end; `overdue`: nobody has begun it.",
        labels={"duty": (), "trouble": tuple(Trouble)},
    ),
    "vectorflow_batches_total": Metric(
        kind="counter",
        unit="batches",
        meaning="Batches that this worker has let go of. `ok`: finished; `throttled`,"
        " `unavailable`, `error`: failed, as the other side wanted no more, was away, or"
        " otherwise; `released`: handed back at a stop; `lost`: the lease ran out.",
        labels={"kind": _KINDS, "outcome": tuple(Outcome)},
    ),
    "vectorflow_stage_duration_seconds": Metric(
        kind="histogram",
        unit="seconds",
        meaning="How long what went well took. `extract`: a batch was read, cut and planned;"
        " `embed`: one call of the embedder; `store`: one call of a store or webhook; `retire`:"
        " the records of a batch were deleted.",
        labels={"stage": get_args(StageName)},
    ),
    "vectorflow_embedding_texts_total": Metric(
        kind="counter",
        unit="texts",
        meaning="Texts that an embedder made vectors of; what was cached is not in it.",
        labels={"embedder": ()},
    ),
    "vectorflow_embedding_tokens_total": Metric(
        kind="counter",
        unit="tokens",
        meaning="Tokens of these texts, by the tokenizer of the embedder.",
        labels={"embedder": ()},
    ),
    "vectorflow_provider_calls_total": Metric(
        kind="counter",
        unit="calls",
        meaning="Calls of an embedder, local ones too, by how they ended.",
        labels={"embedder": (), "outcome": (Outcome.OK, Outcome.THROTTLED, Outcome.ERROR)},
    ),
    "vectorflow_queue_messages_sent_total": Metric(
        kind="counter",
        unit="messages",
        meaning="Wake-ups that this process has given to the broker.",
    ),
    "vectorflow_queue_messages_received_total": Metric(
        kind="counter",
        unit="messages",
        meaning="Wake-ups that this process got from the broker; equal ones may come as one.",
    ),
    "vectorflow_queue_errors_total": Metric(
        kind="counter",
        unit="calls",
        meaning="Calls of the broker that failed; each is made again.",
        labels={"call": ("send", "receive")},
    ),
    "vectorflow_vector_cache_hits_total": Metric(
        kind="counter",
        unit="texts",
        meaning="Texts whose vectors this process found on its machine.",
    ),
    "vectorflow_vector_cache_misses_total": Metric(
        kind="counter",
        unit="texts",
        meaning="Texts that it looked for there in vain.",
    ),
}
"""All there are, in the order in which they are shown."""
