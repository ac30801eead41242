"""The filter of system calls, run by an interpreter of its own."""

import errno
import os
import struct
from collections.abc import Sequence

import pytest

from vectorflow.sandbox.seccomp import program
from vectorflow.sandbox.system_calls import ALLOWED, GUARDED, NEW, PROCESSORS, Processor

OWN = 4242
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
X32 = 0x40000000
X86 = PROCESSORS[0]


def judged(processor: Processor, number: int, *arguments: int, audit: int | None = None) -> int:
    """Do what the kernel does with the filter at a system call."""
    given = [argument % (1 << 64) for argument in (*arguments, *[0] * 6)][:6]
    call = struct.pack("=IIQ6Q", number, processor.audit if audit is None else audit, 0, *given)
    steps = program(processor, OWN)
    at = loaded = 0
    while True:
        code, value, if_true, if_false = steps[at]
        at += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", call, value)
            case 0x54:
                loaded &= value
            case 0x06:
                return value
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x35:
                at += if_true if loaded >= value else if_false
            case 0x45:
                at += if_true if loaded & value else if_false


def call(name: str, *arguments: int) -> int:
    number = (GUARDED | ALLOWED)[name][X86.column]
    assert number is not None
    return judged(X86, number, *arguments)


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: one.name)
def test_what_is_not_listed_is_refused(processor: Processor) -> None:
    listed = {numbers[processor.column] for numbers in (ALLOWED | GUARDED).values()}

    answers = {number: judged(processor, number) for number in range(600) if number not in listed}

    assert {answers[number] for number in answers if number < NEW} == {EPERM}
    assert {answers[number] for number in answers if number >= NEW} == {ENOSYS}
    assert len(answers) > 400


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: one.name)
def test_what_is_listed_is_allowed(processor: Processor) -> None:
    numbers = {numbers[processor.column] for numbers in ALLOWED.values()} - {None}

    assert {judged(processor, number, -1, -1, -1) for number in numbers if number is not None} == {
        ALLOW
    }


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: one.name)
def test_a_number_means_one_call(processor: Processor) -> None:
    numbers = [numbers[processor.column] for numbers in (*ALLOWED.values(), *GUARDED.values())]
    there = [number for number in numbers if number is not None]

    assert len(there) == len(set(there))
    assert not ALLOWED.keys() & GUARDED.keys()


def test_calls_of_another_processor_end_the_process() -> None:
    assert judged(X86, 0, audit=PROCESSORS[1].audit) == KILL
    assert judged(X86, 0, audit=0x40000003) == KILL, "32 bits"
    assert judged(X86, X32 | 0) == ENOSYS


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (os.O_RDONLY, ALLOW),
        (os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, ALLOW),
        (os.O_PATH | os.O_CLOEXEC, ALLOW),
        (os.O_WRONLY, EPERM),
        (os.O_RDWR, EPERM),
        (os.O_RDONLY | os.O_CREAT, EPERM),
        (os.O_RDONLY | os.O_TRUNC, EPERM),
        (os.O_TMPFILE | os.O_RDWR, EPERM),
    ],
)
def test_files_are_opened_for_reading_only(flags: int, answer: int) -> None:
    assert call("open", 0, flags) == answer
    assert call("openat", -100, 0, flags) == answer


def test_only_threads_are_made() -> None:
    thread = 0x3D0F00

    assert call("clone", thread) == ALLOW
    assert call("clone", 0x1200011) == EPERM, "what fork() asks for"
    assert call("clone", 0x4111) == EPERM, "what vfork() asks for"


def test_signals_go_to_oneself_only() -> None:
    for name in ("kill", "tgkill"):
        assert call(name, OWN, 6) == ALLOW
        assert call(name, OWN + 1, 9) == EPERM
        assert call(name, -1, 9) == EPERM
        assert call(name, 0, 9) == EPERM
    for command in (8, 10, 15, 1024, 1026):
        assert call("fcntl", 3, command) == EPERM
    for command in (0, 1, 2, 3, 4, 1030):
        assert call("fcntl", 3, command) == ALLOW


def test_limits_are_those_of_oneself_only() -> None:
    assert call("prlimit64", 0) == call("prlimit64", OWN) == ALLOW
    assert call("prlimit64", OWN - 1) == EPERM


def test_only_a_connected_pair_of_sockets_is_made() -> None:
    nonblocking = 0o2004000

    assert call("socketpair", 1, 1) == call("socketpair", 1, 1 | nonblocking) == ALLOW
    assert call("socketpair", 1, 2) == call("socketpair", 1, 2 | nonblocking) == EPERM
    assert call("socketpair", 1, 5) == EPERM
    assert call("socketpair", 2, 1) == EPERM


def test_of_device_controls_only_harmless_ones_pass() -> None:
    assert call("ioctl", 1, 0x5401) == ALLOW
    assert call("ioctl", 1, 0x5412) == EPERM, "TIOCSTI types into a terminal"


def test_a_program_is_short_enough_for_the_kernel() -> None:
    assert all(len(program(processor, OWN)) <= 4096 for processor in PROCESSORS)


@pytest.mark.parametrize("name", ["socket", "connect", "execve", "fork", "ptrace", "unlink"])
def test_the_worst_are_not_listed(name: str) -> None:
    names: Sequence[str] = [*ALLOWED, *GUARDED]

    assert name not in names
