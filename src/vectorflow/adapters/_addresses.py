"""Which addresses that users give may be called.

A name is judged by all addresses it has, and who connects takes the judged ones: a name looked up
twice may answer differently (DNS rebinding).
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

from yarl import URL

from vectorflow.errors import ForbiddenAddress, InvalidSetting, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> all its addresses; raises OSError."""

_HTTPS = 443
_PORTS = range(1, 1 << 16)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""A host that C libraries read as an IPv4 address, whatever its form."""
_ENTRY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")

# More than `ipaddress` knows, whose lists differ between the releases of Python.
_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by providers (CGNAT)
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, though it looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "192.0.0.192",
        "fd00:ec2::23",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
"""Where clouds hand out credentials; only an entry that names one exactly lets it in."""

# Of their own: a name server that does not answer holds up lookups, not the other work of threads.
_LOOKUPS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lookup")


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    infos = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def reached(address: Address) -> Address:
    """Give the IPv4 address that is reached through an IPv6 form of it, else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def is_public(address: Address) -> bool:
    """Whether everybody may know what answers there: unicast, routed in the whole Internet."""
    address = reached(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def canonical_host(host: str) -> str:
    """Give a name in lower case ASCII, or a literal address in its usual form.

    Raises:
        ValueError: It is neither; forms of an address that only some programs read are neither.
    """
    if ":" in host:
        address = ipaddress.IPv6Address(host)
        if address.scope_id:
            raise ValueError("a zone is no part of a public address")
        return str(address)
    name = host.lower() if host.isascii() else URL.build(scheme="http", host=host).raw_host or ""
    if _NUMBER.fullmatch(name):
        return str(ipaddress.IPv4Address(name))
    if not _NAME.fullmatch(name):
        raise ValueError("not the name of a host")
    return name


def literal(host: str) -> Address | None:
    """Give the address that a canonical host is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that an operator let in; without a port, at all ports."""

    name: str = ""
    """A host; with a dot at its start, all hosts below that domain."""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `host`, `*.domain`, an address, any of them with `:port`, or a network.

        Raises:
            ValueError: It is none of them.
        """
        if "/" in text:
            return cls(network=ipaddress.ip_network(text))
        bare = f"[{text}]" if text.count(":") > 1 and "[" not in text else text
        match = _ENTRY.fullmatch(bare)
        if match is None or int(match["port"] or 1) not in _PORTS:
            raise ValueError("not a host")
        port = int(match["port"]) if match["port"] else None
        given = match["host"].strip("[]")
        host = canonical_host(given.removeprefix("*."))
        address = literal(host)
        if given.startswith("*.") and not address:
            return cls(name=f".{host}", port=port)
        return (
            cls(network=ipaddress.ip_network(address), port=port)
            if address
            else cls(name=host, port=port)
        )

    def names(self, host: str, port: int) -> bool:
        """Whether it lets in a host whatever its addresses are."""
        found = host.endswith(self.name) if self.name.startswith(".") else host == self.name
        return bool(self.name) and found and self.port in {None, port}

    def covers(self, host: str, port: int, address: Address) -> bool:
        """Whether it lets in a host at an address."""
        address = reached(address)
        if address in _METADATA and not self._exact:
            return False
        if self.network is None:
            return self.names(host, port)
        return address in self.network and self.port in {None, port}

    @property
    def _exact(self) -> bool:
        return not self.name.startswith(".") and (
            self.network is None or self.network.num_addresses == 1
        )


def read_entries(allow: Sequence[str], setting: str) -> tuple[Entry, ...]:
    """Read what an operator lets in.

    Raises:
        InvalidSetting: An entry is none.
    """
    entries: list[Entry] = []
    for place, text in enumerate(allow, start=1):
        try:
            entries.append(Entry.read(text))
        except ValueError:
            fix = "write a host, host:port, *.domain, an address, or a network such as 10.0.0.0/8"
            # Not the entry itself: a URL in its place may hold a password.
            raise InvalidSetting(f"entry {place} of {setting} is no host", fix=fix) from None
    return tuple(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may be called: public addresses at some ports, and what an operator let in."""

    allow: tuple[Entry, ...]
    setting: str
    """Name of the setting that lets in more; the fix of a refusal."""
    ports: frozenset[int] | None = frozenset({_HTTPS})
    """Ports of public addresses that may be called; None for all."""
    loopback: bool = False
    """This machine may be called too."""
    offline: bool = False
    """Nothing but this machine may be called, and only by a name or address that says so."""

    def target(self, text: str) -> URL:
        """Read the URL of a call, and refuse what can be refused before a lookup.

        Path and query stay as they were written, since they may be signed.

        Raises:
            ForbiddenAddress: It is no URL of http or https, holds a user name or password, or its
                scheme, port or address may not be called.
        """
        try:
            url = _read_url(text)
        except ValueError:
            fix = "write it as https://HOST/PATH, without a user name, password or blanks"
            # The cause may quote the URL, which may be a secret.
            raise ForbiddenAddress("not an address that can be called", fix=fix) from None
        host, port, secure = url.raw_host or "", url.port or 0, url.scheme == "https"
        self.check_name(host)
        address = literal(host)
        if address:
            self.check_addresses(host, port, [str(address)], secure=secure)
        # Once the addresses are known the scheme is not, and this port stands for TLS.
        elif port == _HTTPS and not secure and not self._names(host, port):
            raise self._forbidden(host, "it is called without TLS")
        return url

    def check_name(self, host: str) -> None:
        """Refuse a canonical host by its name alone.

        Raises:
            ForbiddenAddress: Calls may not leave this machine.
        """
        address = literal(host)
        local = address.is_loopback if address else _is_local_name(host)
        if self.offline and not local:
            raise _outside(host)

    def check_addresses(
        self, host: str, port: int, addresses: Sequence[str], *, secure: bool = True
    ) -> None:
        """Judge a canonical host by all its addresses.

        Raises:
            ForbiddenAddress: One of them, or the port, may not be called.
        """
        for text in addresses:
            address = literal(text)
            if address is None or (isinstance(address, ipaddress.IPv6Address) and address.scope_id):
                raise self._forbidden(host, "its address is not public")
            if self.offline and not reached(address).is_loopback:
                raise _outside(host)
            if not any(entry.covers(host, port, address) for entry in self.allow):
                self._check_public(host, port, address, secure=secure)

    def _check_public(self, host: str, port: int, address: Address, *, secure: bool) -> None:
        if self.loopback and reached(address).is_loopback:
            return
        if not is_public(address):
            raise self._forbidden(host, "its address is not public")
        if not secure:
            raise self._forbidden(host, "it is called without TLS")
        if self.ports is not None and port not in self.ports:
            raise self._forbidden(host, f"port {port} is not one of {sorted(self.ports)}")

    def _names(self, host: str, port: int) -> bool:
        return any(entry.names(host, port) for entry in self.allow)

    def _forbidden(self, host: str, why: str) -> ForbiddenAddress:
        fix = f"use a public address, or let the operator name it in {self.setting}"
        return ForbiddenAddress(f"{host!r} may not be called from here: {why}", fix=fix)


def hook_policy(allow: Sequence[str], *, offline: bool = False) -> Policy:
    """Webhooks, validation hooks and presigned URLs: https at public addresses.

    Raises:
        InvalidSetting: An entry is no host.
    """
    setting = "VECTORFLOW_HOOKS__ALLOW"
    return Policy(allow=read_entries(allow, setting), setting=setting, offline=offline)


def store_policy(allow: Sequence[str], *, own: str = "", offline: bool = False) -> Policy:
    """Stores that requests name: public addresses at any port, this machine, the `own` store.

    Raises:
        InvalidSetting: An entry, or `own`, is no host.
    """
    setting = "VECTORFLOW_STORES__ALLOW"
    entries = read_entries(allow, setting) + read_entries([own] if own else [], "LOCAL_VECTOR_DB")
    return Policy(allow=entries, setting=setting, ports=None, loopback=True, offline=offline)


async def look_up(host: str, port: int, policy: Policy, lookup: Lookup) -> Sequence[str]:
    """Give the addresses of a canonical host, all of them judged.

    Raises:
        ForbiddenAddress: One of them, or the port, may not be called.
        Unavailable: It has no address.
    """
    try:
        addresses = [host] if literal(host) else await lookup(host, port)
    except OSError:
        addresses = []
    if not addresses:
        raise Unavailable(f"the address of {host!r} cannot be found")
    policy.check_addresses(host, port, addresses)
    return addresses


async def check_store_address(
    host: str,
    port: int,
    *,
    allow: Sequence[str],
    own: str = "",
    offline: bool = False,
    lookup: Lookup = system_lookup,
) -> Sequence[str]:
    """Judge the address of a store that a request names, before a client for it is made.

    This machine, the operator's `own` store and public addresses are let in, at any port.

    Returns:
        The judged addresses: a client that can be told where to connect takes one of them, since
        its own lookup might find another.

    Raises:
        ForbiddenAddress: It may not be reached from here.
        InvalidSetting: An entry of `allow`, or `own`, is no host.
        Unavailable: It has no address.
    """
    policy = store_policy(allow, own=own, offline=offline)
    try:
        name = canonical_host(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        fix = "name the store by its host or its address, without user name or path"
        raise ForbiddenAddress("not the host of a store", fix=fix) from None
    policy.check_name(name)
    return await look_up(name, port, policy, lookup)


def _read_url(text: str) -> URL:
    if re.search(r"[\x00-\x20\x7f\\]", text):
        raise ValueError("blank, control character or backslash")
    given = URL(text, encoded=text.isascii())
    if given.scheme not in {"http", "https"} or not given.raw_host or not given.port:
        raise ValueError("not of http")
    if "@" in given.raw_authority:
        raise ValueError("holds a user")
    return given.with_host(canonical_host(given.raw_host)).with_fragment(None)


def _outside(host: str) -> ForbiddenAddress:
    fix = "unset VECTORFLOW_OFFLINE to let calls leave this machine"
    return ForbiddenAddress(f"VECTORFLOW_OFFLINE is set, so {host!r} is not called", fix=fix)


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")
