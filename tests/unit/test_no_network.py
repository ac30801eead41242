import asyncio
import socket

import pytest
import pytest_socket


def test_a_unit_test_cannot_open_a_network_socket() -> None:
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


async def test_the_event_loop_works_without_network() -> None:
    assert await asyncio.to_thread(lambda: 1) == 1
