"""Retire: delete from the store what a version had and the live one has not."""

from collections.abc import Awaitable, Callable, Sequence

from vectorflow.ports.work import Finished, Lease, Work
from vectorflow.service.part_files import read_ids

DELETED_AT_ONCE = 5000


async def retire(
    lease: Lease, work: Work, delete: Callable[[Sequence[str]], Awaitable[None]]
) -> Finished:
    """Run a retire batch: ids(version) - ids(live); harmless when repeated."""
    blobs = work.blobs(lease)
    vanished: list[str] = []
    for version in lease.versions:
        kept = set(await read_ids(blobs, version.base))
        vanished += [key for key in await read_ids(blobs, version.parts) if key not in kept]
    for start in range(0, len(vanished), DELETED_AT_ONCE):
        await delete(vanished[start : start + DELETED_AT_ONCE])
    return Finished(lease=lease)
