"""A TCP port in front of a server, which can be taken away for a while."""

import asyncio
import threading
from pathlib import Path
from typing import Self

_BLOCK = 1 << 16


class Gate:
    """Leads from a port of this machine to a Unix socket while it is entered.

    While it is shut, every connection breaks off, those that are open too. The port itself stays
    taken, so that nobody else gets it.
    """

    def __init__(self, target: Path) -> None:
        self.port = 0
        self.refused = 0
        """Connections that found it shut."""
        self._target = target
        self._shut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30), "the gate does not open"
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def shut(self) -> None:
        """Break off all connections, and those to come."""
        self._shut = True
        self._loop.call_soon_threadsafe(self._break_off)

    def open(self) -> None:
        """Let connections pass again."""
        self._shut = False

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._lead, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._break_off()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _break_off(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_unix_connection(self._target)
        except OSError:  # it is restarted
            writer.transport.abort()
            return
        self._open |= {writer, there}
        ways = [
            asyncio.create_task(_copy(reader, there)),
            asyncio.create_task(_copy(there_reader, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, there):
            end.close()
        await asyncio.wait(ways, timeout=1)
        self._open -= {writer, there}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
    except OSError:
        return
