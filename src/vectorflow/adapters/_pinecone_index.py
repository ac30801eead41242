"""An index of Pinecone: its address, what kind it is, and the client that speaks to it."""

import contextlib
import ipaddress
import re
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pinecone.errors.exceptions import (
    ForbiddenError,
    NotFoundError,
    PineconeValueError,
    ResponseParsingError,
    UnauthorizedError,
)

from vectorflow.adapters._pinecone_errors import translated
from vectorflow.adapters._pinecone_planes import DocumentPlane, Plane, VectorPlane
from vectorflow.adapters._pinecone_records import Layout
from vectorflow.errors import ForbiddenAddress, IndexRefused, InvalidInput, KeyRefused

if TYPE_CHECKING:
    from pinecone import AsyncIndex, AsyncPinecone, IndexModel

SCHEME = "pinecone://"
CONTROL = "https://api.pinecone.io"
_DOMAIN = ".pinecone.io"
_CLASSIC_FIELD = "_values"
"""What the control plane calls the vector of an index that was made without a schema."""
_METRICS = {"cosine", "dotproduct"}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?|\[[0-9a-f:]+\](:[0-9]{1,5})?")
_UNREADABLE = (ForbiddenError, UnauthorizedError, NotFoundError, ResponseParsingError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an index is like; Pinecone fixes it when the index is made."""

    dimensions: int
    metric: str
    field: str = _CLASSIC_FIELD
    """The one that holds the vectors."""
    declared: Mapping[str, str]
    """Types of the fields in its schema."""

    @property
    def layout(self) -> Layout:
        """How its metadata is laid out."""
        return Layout(declared=self.declared, exact=self.field != _CLASSIC_FIELD)

    def plane(self, index: "AsyncIndex") -> Plane:
        """Speak to it in its way."""
        if self.field == _CLASSIC_FIELD:
            return VectorPlane(index)
        return DocumentPlane(index, self.field)


def host_of(url: str) -> str:
    """Give the host in an address of a store.

    Raises:
        InvalidInput: It is something else.
    """
    host = url.removeprefix(SCHEME).rstrip("/").lower().removesuffix(":443")
    with contextlib.suppress(ValueError):  # of a port that there is not
        if host != url and _HOST.fullmatch(host) and urlsplit(f"//{host}").port != 0:
            return host
    fix = f"write it as {SCHEME}HOST, the host that Pinecone shows for the index"
    raise InvalidInput("not the address of a Pinecone index", fix=fix)


def check_host(host: str, allowed: Sequence[str]) -> None:
    """Refuse to send keys and texts to other hosts than Pinecone's and this one.

    Raises:
        ForbiddenAddress: The host is neither Pinecone's nor local nor allowed.
    """
    pinecones = host.endswith(_DOMAIN) and ".." not in host
    if not (pinecones or is_local(host) or host in allowed):
        raise ForbiddenAddress(
            f"{host!r} is no host of Pinecone", fix=f"use a host that ends in {_DOMAIN}"
        )


def is_local(host: str) -> bool:
    """Whether a host, with or without a port, is this machine: it is reached without TLS."""
    name = re.sub(r":[0-9]+\Z", "", host).strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"


def base_url(host: str) -> str:
    """Give the address of an index for the client."""
    return f"http://{host}" if is_local(host) else f"https://{host}"


@contextlib.asynccontextmanager
async def control_plane(url: str, key: str, seconds: float) -> "AsyncGenerator[AsyncPinecone]":
    """Open the part of Pinecone that knows all indexes of a project."""
    library = import_module("pinecone")
    once = library.RetryConfig(max_retries=0)
    with _checked_key():
        client = library.AsyncPinecone(api_key=key, host=url, timeout=seconds, retry_config=once)
    async with client:
        yield client


def data_plane(host: str, key: str, timeout: float) -> "AsyncIndex":
    """Make a client of one index that never tries again by itself: the ledger does that."""
    make = import_module("pinecone").AsyncIndex
    with _checked_key():
        index: AsyncIndex = make(host=base_url(host), api_key=key, timeout=timeout)
    # The client has a setting for it, which an index made by its host does not take.
    http = getattr(index, "_http", None)
    if config := getattr(http, "_config", None):
        once = replace(config.retry_config, max_retries=0)
        vars(http)["_config"] = replace(config, retry_config=once)
    return index


@contextlib.contextmanager
def _checked_key() -> Generator[None]:
    """Tell of a key that cannot be sent; the client's own message may hold it."""
    try:
        yield
    except PineconeValueError:
        message = "the key for Pinecone is empty, or has characters that cannot be sent"
        raise KeyRefused(message, fix="copy it again, without spaces around it") from None


async def look(control: "AsyncPinecone", index: "AsyncIndex", name: str) -> Facts:
    """Find out what an index is like.

    A key that may not list indexes is enough for those of vectors.

    Raises:
        IndexRefused: It cannot hold our records.
    """
    host = re.sub(r"\Ahttps?://", "", index.host)
    with contextlib.suppress(*_UNREADABLE):
        async for model in control.indexes.list():
            if bare_host(model) == host:
                return facts_of(model)
    with translated(name):
        stats = await index.describe_index_stats()
    if stats.dimension is None:
        raise IndexRefused(f"index {name!r} takes no dense vectors", fix="use a dense index")
    facts = Facts(dimensions=stats.dimension, metric=stats.metric or "cosine", declared={})
    return _checked(name, facts)


def facts_of(model: "IndexModel") -> Facts:
    """Read the description of an index.

    Raises:
        IndexRefused: It cannot hold our records.
    """
    fields = model.schema.to_dict()["fields"]
    dense = [name for name, one in fields.items() if one.get("type") == "dense_vector"]
    embedded = [name for name, one in fields.items() if "embed" in one or "model" in one]
    if len(dense) != 1 or embedded:
        raise IndexRefused(
            f"Pinecone's index {model.name!r} must have one dense vector and embed nothing itself",
            fix="make an index with a dimension and a metric",
        )
    facts = Facts(
        dimensions=fields[dense[0]]["dimension"],
        metric=fields[dense[0]]["metric"].lower(),
        field=dense[0],
        declared={name: one.get("type", "") for name, one in fields.items()},
    )
    return _checked(model.name, facts)


def bare_host(model: "IndexModel") -> str:
    """Give the host of an index without a scheme; empty while it has none."""
    return re.sub(r"\Ahttps?://", "", model.host or "")


def _checked(name: str, facts: Facts) -> Facts:
    if facts.metric not in _METRICS:
        raise IndexRefused(
            f"Pinecone's index {name!r} ranks by {facts.metric}",
            fix="use an index whose metric is cosine or dotproduct",
        )
    return facts
