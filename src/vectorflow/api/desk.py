"""Where workers over HTTP are served: what they may ask for, and what they are lent."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from vectorflow.errors import Forbidden, LeaseLost
from vectorflow.ledger import held
from vectorflow.ledger.database import Database
from vectorflow.ledger.held import Held, Name
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.vector_store import VectorStore
from vectorflow.ports.work import Lease, Work
from vectorflow.ports.work_wire import Claimed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """A lease with all that its worker needs, and how to reach what it names."""

    lease: Lease
    stores: Mapping[str, str | None] = field(default_factory=dict[str, str | None], repr=False)
    """Locator -> URL with credentials; None where the API stores for the worker."""
    providers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Plugin of the embedder -> base URL of its provider."""
    secret: bool = False
    """There are credentials in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskLimits:
    """What one request of a worker may hold."""

    json_bytes: int = 64 << 20
    blob_bytes: int = 512 << 20
    records_bytes: int = 256 << 20
    idle_seconds: float = 60.0
    """How long a worker may send nothing in the middle of a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts behind the routes of workers."""

    tenant: str
    """Whose keys are for workers: they see the work of everybody."""
    database: Database
    blobs: BlobStore
    work: Callable[[str], Work]
    """Owner of leases -> the ledger as that worker sees it."""
    lend: Callable[[Lease], Loan]
    store: Callable[[Held], Awaitable[VectorStore]]
    """Opens the store of a lease, with the credentials of its job."""
    limits: DeskLimits = field(default_factory=DeskLimits)

    async def claimed(self, owner: str, leases: Sequence[Lease], *, private: bool) -> Claimed:
        """Lend what leases need; nothing secret travels where others could read it.

        Raises:
            Forbidden: It would have to; all of these leases are given back.
        """
        loans = [self.lend(lease) for lease in leases]
        if not private and any(loan.secret for loan in loans):
            for lease in leases:
                await self.work(owner).release(lease, None)
            log.warning("worker_without_tls", extra={"batches_given_back": len(leases)})
            message = "this work has credentials, which are not sent over plain HTTP"
            raise Forbidden(message, fix="use https: in the URL of the server")
        return Claimed(
            leases=tuple(loan.lease for loan in loans),
            stores={name: url for loan in loans for name, url in loan.stores.items()},
            providers={name: url for loan in loans for name, url in loan.providers.items()},
        )

    async def owned(self, owner: str, leases: Sequence[Lease]) -> list[Lease]:
        """Leave out leases that this worker never had."""
        names = [(lease.batch, lease.epoch) for lease in leases]
        found = await self.database.read(partial(held.owned, owner=owner, names=names))
        return [lease for lease in leases if (lease.batch, lease.epoch) in found]

    async def check(self, owner: str, names: Sequence[Name]) -> None:
        """Go on only if one of these leases is current.

        Raises:
            LeaseLost: None is.
        """
        if not await self.database.read(partial(held.is_current, owner=owner, names=names)):
            raise _lost()

    async def held(self, owner: str, names: Sequence[Name]) -> Held:
        """Look up what the first of these leases that is current is for.

        Raises:
            LeaseLost: None is.
        """
        found = await self.database.read(partial(held.held, owner=owner, names=names))
        if found is None:
            raise _lost()
        return found


def _lost() -> LeaseLost:
    return LeaseLost("the batch belongs to another worker now, or has ended")
