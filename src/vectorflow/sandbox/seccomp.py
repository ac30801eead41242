"""A filter of system calls: no network, no other process, no file that is written.

Source: Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/seccomp.h of Linux.
"""

import errno
import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vectorflow.sandbox.kernel import pointer, prctl
from vectorflow.sandbox.system_calls import ALLOWED, GUARDED, NEW, PROCESSORS, Processor

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_REFUSE = 0x00050000 | errno.EPERM
_UNKNOWN = 0x00050000 | errno.ENOSYS

_LOAD, _AND = 0x20, 0x54
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_RETURN = 0x06
_NUMBER_AT, _PROCESSOR_AT, _ARGUMENTS_AT = 0, 4, 16

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x00010000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPES = 1, 1, 0xF
_SIGNAL_OTHERS = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY."""
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""


class _Step(NamedTuple):
    code: int
    value: int
    if_true: int = 0
    """Steps to leave out."""
    if_false: int = 0


def refuse_system_calls() -> None:
    """Make this process, and all its threads to come, fail at what is not allowed.

    Raises:
        OSError: The kernel has no filters, or none is known for this processor.
    """
    steps = program(_processor(), os.getpid())
    code = pointer(b"".join(map(_encoded, steps)))
    described = struct.pack("=H6xQ", len(steps), code.value)
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, pointer(described))


def program(processor: Processor, own_pid: int) -> list[_Step]:
    """Write the filter of a process."""
    steps = [
        _Step(_LOAD, _PROCESSOR_AT),
        _Step(_IF_EQUAL, processor.audit, if_true=1),
        _Step(_RETURN, _KILL),
        _Step(_LOAD, _NUMBER_AT),
    ]
    for numbers in ALLOWED.values():
        steps += _when(numbers[processor.column], [_Step(_RETURN, _ALLOW)])
    for name, guard in _guards(own_pid).items():
        steps += _when(GUARDED[name][processor.column], guard)
    return [
        *steps,
        _Step(_IF_AT_LEAST, NEW, if_false=1),
        _Step(_RETURN, _UNKNOWN),
        _Step(_RETURN, _REFUSE),
    ]


def _guards(own_pid: int) -> Mapping[str, Sequence[_Step]]:
    """Give the steps that judge calls by their arguments; each of them ends with a return."""
    itself = _only(0, [own_pid])
    return {
        "open": _without(1, _WRITING),
        "openat": _without(2, _WRITING),
        "fcntl": [_argument(1), *_if_one_of(_SIGNAL_OTHERS, _REFUSE), _Step(_RETURN, _ALLOW)],
        "ioctl": _only(1, _HARMLESS_IOCTLS),
        "clone": [_argument(0), *_if_any_bit(_CLONE_THREAD, _ALLOW), _Step(_RETURN, _REFUSE)],
        "socketpair": [
            _argument(0),
            _Step(_IF_EQUAL, _AF_UNIX, if_true=1),
            _Step(_RETURN, _REFUSE),
            _argument(1),
            _Step(_AND, _SOCK_TYPES),
            *_if_one_of([_SOCK_STREAM], _ALLOW),
            _Step(_RETURN, _REFUSE),
        ],
        "kill": itself,
        "tgkill": itself,
        "prlimit64": _only(0, [0, own_pid]),
    }


def _only(argument: int, values: Iterable[int]) -> list[_Step]:
    return [_argument(argument), *_if_one_of(values, _ALLOW), _Step(_RETURN, _REFUSE)]


def _without(argument: int, bits: int) -> list[_Step]:
    return [_argument(argument), *_if_any_bit(bits, _REFUSE), _Step(_RETURN, _ALLOW)]


def _argument(index: int) -> _Step:
    """Load the lower half of an argument: all that are looked at are int to the kernel."""
    return _Step(_LOAD, _ARGUMENTS_AT + 8 * index)


def _if_one_of(values: Iterable[int], answer: int) -> list[_Step]:
    return [
        step
        for value in values
        for step in (_Step(_IF_EQUAL, value, if_false=1), _Step(_RETURN, answer))
    ]


def _if_any_bit(bits: int, answer: int) -> list[_Step]:
    return [_Step(_IF_ANY_BIT, bits, if_false=1), _Step(_RETURN, answer)]


def _when(number: int | None, steps: Sequence[_Step]) -> list[_Step]:
    if number is None:
        return []
    return [_Step(_IF_EQUAL, number, if_false=len(steps)), *steps]


def _encoded(step: _Step) -> bytes:
    return struct.pack("=HBBI", step.code, step.if_true, step.if_false, step.value)


def _processor() -> Processor:
    name = os.uname().machine if sys.maxsize > 1 << 32 else "of 32 bits"
    for processor in PROCESSORS:
        if processor.name == name:
            return processor
    raise OSError(errno.ENOSYS, f"no filter is known for the processor {name}")
