"""A pooler of PostgreSQL connections in transaction mode, as PgBouncer is, and less kind.

Each transaction is given another connection to the server than the one before it, so that whatever
a client sets, prepares or locks for its session is gone in the next. Startup parameters that
PgBouncer does not follow are refused in its words.
"""

import asyncio
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg

FOLLOWED = {
    "user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings",
    "application_name",
}  # fmt: skip

REPORTED = (
    b"server_version", b"server_encoding", b"client_encoding", b"DateStyle", b"TimeZone",
    b"integer_datetimes", b"standard_conforming_strings", b"is_superuser",
)  # fmt: skip

ENCRYPTION = (80877103, 80877104)
"""Asked for by TLS and by Kerberos; both are declined."""

CANCEL = 80877102

ENDS_WITH_READY = b"QSF"
"""Messages of a client that the server answers with `ReadyForQuery` in the end."""


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@dataclass(slots=True, eq=False)
class Server:
    """A connection to the server, and the process behind it."""

    connection: psycopg.Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    application: str = ""

    @classmethod
    async def connect(cls, url: str) -> "Server":
        """Let libpq say hello; from then on the bytes are ours."""
        connection = await asyncio.to_thread(psycopg.connect, url, autocommit=True)
        same = socket.socket(fileno=os.dup(connection.fileno()))
        reader, writer = await asyncio.open_connection(sock=same)
        return cls(connection, reader, writer)

    async def close(self) -> None:
        await closed(self.writer)
        self.connection.close()

    async def call_it(self, application: str) -> None:
        """Give it the name of the client that uses it next, which PgBouncer follows."""
        if application != self.application:
            self.writer.write(message(b"Q", f"SET application_name = '{application}'\0".encode()))
            while (await read_message(self.reader))[0] != b"Z":
                pass
            self.application = application


@dataclass(slots=True, kw_only=True)
class Pooler:
    """Stands before a server."""

    upstream: str
    """Address of the database."""
    size: int
    """Connections to the server."""
    url: str = ""
    """For clients."""
    transactions: int = 0
    """Given a connection so far."""
    refused: list[str] = field(default_factory=list[str])
    """Startup parameters that clients sent."""
    _free: deque[Server] = field(default_factory=deque[Server])
    _returned: asyncio.Condition = field(default_factory=asyncio.Condition)
    _clients: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _reported: bytes = b""

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        for _ in range(self.size):
            self._free.append(await Server.connect(self.upstream))
        status = self._free[0].connection.pgconn.parameter_status
        known = {name: value for name in REPORTED if (value := status(name)) is not None}
        self._reported = b"".join(
            message(b"S", name + b"\0" + value + b"\0") for name, value in known.items()
        )
        async with await asyncio.start_server(self._client, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            path = urlsplit(self.upstream).path
            self.url = f"postgresql://someone@127.0.0.1:{port}{path}?sslmode=disable"
            ready.set()
            await stop.wait()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for server in self._free:
            await server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            application = await self._greet(reader, writer)
            if application is not None:
                await self._transactions(application, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # it left, or the pooler ends
        finally:
            await closed(writer)
            self._clients.discard(task)

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str | None:
        """Say hello; gives the name of the client, None where it must go."""
        while True:
            length, code = struct.unpack("!ii", await reader.readexactly(8))
            body = await reader.readexactly(length - 8)
            if code not in ENCRYPTION:
                break
            writer.write(b"N")
        if code == CANCEL:
            return None
        words = [word.decode() for word in body.rstrip(b"\0").split(b"\0")]
        given = dict(zip(words[::2], words[1::2], strict=True))
        if foreign := [name for name in given if name.lower() not in FOLLOWED]:
            self.refused += foreign
            text = f"SFATAL\0C08P01\0Munsupported startup parameter: {foreign[0]}\0\0"
            writer.write(message(b"E", text.encode()))
            return None
        hello = message(b"R", struct.pack("!i", 0)) + self._reported
        writer.write(hello + message(b"K", struct.pack("!ii", 0, 0)) + message(b"Z", b"I"))
        return given.get("application_name", "")

    async def _transactions(
        self, application: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a client until it leaves."""
        before: Server | None = None
        while True:
            first = await read_message(reader)
            if first[0] == b"X":
                return
            server = before = await self._other_than(before)
            alive = False
            try:
                await server.call_it(application)
                alive = await Turn(server, reader, writer).run(first)
            finally:
                await self._give_back(server, alive=alive)

    async def _other_than(self, before: Server | None) -> Server:
        """Wait for a connection that is not the one that this client had last."""
        async with self._returned:
            others = (one for one in list(self._free) if one is not before)
            while (found := next(others, None)) is None:
                await self._returned.wait()
                others = (one for one in list(self._free) if one is not before)
            self._free.remove(found)
        self.transactions += 1
        return found

    async def _give_back(self, server: Server, *, alive: bool) -> None:
        """Keep a connection whose transaction ended, and make a new one in the place of others."""
        if not alive:
            await server.close()
            server = await Server.connect(self.upstream)
        async with self._returned:
            self._free.append(server)
            self._returned.notify_all()


@dataclass(slots=True)
class Turn:
    """One transaction of one client on one connection."""

    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _owed: int = 0
    """`ReadyForQuery` that the server has still to send."""
    _open: bool = True
    """The client has sent something that nothing ends yet."""

    async def run(self, first: tuple[bytes, bytes]) -> bool:
        """Pass everything on until the transaction has ended; False where the server went away."""
        self._forward(*first)
        asking = asyncio.create_task(self._ask())
        try:
            return await self._answer()
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    def _forward(self, kind: bytes, body: bytes) -> None:
        self._open = kind not in ENDS_WITH_READY
        self._owed += not self._open
        self.server.writer.write(message(kind, body))

    async def _ask(self) -> None:
        """Pass on what the client sends; where it leaves in the middle, all is undone.

        Cancelled only between messages: a client that has nothing open sends nothing.
        """
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (got := await read_message(self.reader))[0] != b"X":
                self._forward(*got)
        self.server.writer.close()

    async def _answer(self) -> bool:
        while True:
            try:
                kind, body = await read_message(self.server.reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.writer.close()
                return False
            self.writer.write(message(kind, body))
            if kind == b"Z":
                self._owed -= 1
                if body == b"I" and not self._owed and not self._open:
                    return True


@contextmanager
def pooler(upstream: str, *, size: int = 4) -> Generator[Pooler]:
    """Run a pooler in a thread, before the database at this address."""
    made = Pooler(upstream=upstream, size=size)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[made.serve(ready, stop)], name="pooler"
    )
    thread.start()
    try:
        assert ready.wait(20), "the pooler did not start"
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
