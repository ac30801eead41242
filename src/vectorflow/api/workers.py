"""What requests of workers have in common: who asks, under which leases, and how safely."""

import ipaddress
from contextlib import aclosing

from fastapi import Request

from vectorflow.api.auth import key_of, require
from vectorflow.api.desk import Desk
from vectorflow.api.uploads import body_blocks
from vectorflow.domain.access import Access, KeyScope
from vectorflow.domain.credentials import account_of
from vectorflow.errors import Forbidden, InvalidInput, TooLarge
from vectorflow.ledger.held import Held, Name
from vectorflow.ports.work_wire import (
    LEASES_HEADER,
    MAX_LEASES,
    WORKER_HEADER,
    WORKER_NAME,
    read_names,
)

OWNER = "http:"
"""How workers over HTTP sign their leases; followed by a hash of the key, and the name."""

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip")


def owner_of(request: Request, desk: Desk) -> str:
    """Say who asks; the first line of every route of workers.

    Raises:
        Forbidden: The key is not for workers.
        InvalidInput: The worker does not give its name.
    """
    require(request, KeyScope.WORK)
    access: Access = request.state.access
    if access.tenant != desk.tenant:
        message = "this key may not work: workers see the work of all tenants"
        raise Forbidden(message, fix=f"use a key of the tenant {desk.tenant!r}")
    name = request.headers.get(WORKER_HEADER, "")
    if not WORKER_NAME.fullmatch(name):
        message = f"the header {WORKER_HEADER} does not name the worker"
        raise InvalidInput(message, fix="send up to 80 letters, digits and . _ : -")
    return f"{OWNER}{account_of(key_of(request.headers))}:{name}"


async def held_of(request: Request, desk: Desk) -> Held:
    """Look up what the lease is for that a request names.

    Raises:
        LeaseLost: It names none that is current.
    """
    return await desk.held(owner_of(request, desk), leases_of(request))


def leases_of(request: Request) -> list[Name]:
    """Read under which leases something is asked for.

    Raises:
        InvalidInput: The request does not say so.
    """
    names = read_names(request.headers.get(LEASES_HEADER, ""))
    if names is None:
        message = f"the header {LEASES_HEADER} does not name leases"
        raise InvalidInput(message, fix=f"send BATCH:EPOCH, at most {MAX_LEASES} with commas")
    return names


def is_private(request: Request) -> bool:
    """Whether nobody can read an answer on its way: it goes over TLS, or stays on this machine.

    Behind a proxy the scheme is the one that a proxy trusted by the server tells. A client that
    was forwarded is not on this machine, whatever the address of the proxy.
    """
    if request.scope.get("scheme") == "https":
        return True
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def body_of(request: Request, desk: Desk, most: int) -> bytes:
    """Read a whole body.

    Raises:
        TooLarge: It has more than `most` bytes.
    """
    too_large = TooLarge("the body is too large", fix=f"send at most {most} bytes")
    blocks = body_blocks(request, most, too_large, idle_seconds=desk.limits.idle_seconds)
    async with aclosing(blocks) as arriving:
        return b"".join([block async for block in arriving])
