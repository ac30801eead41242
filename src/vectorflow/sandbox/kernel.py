"""Calls of the Linux kernel for which Python 3.11 has no function."""

import ctypes
import os

_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITIES_V3 = 0x20080522
_CAP_DAC_READ_SEARCH = 2
"""Root keeps it: its libraries may lie where only their owner may read."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int | ctypes.c_void_p) -> None:
    """Change how the kernel treats this process.

    Raises:
        OSError: The kernel does not know how, or does not want to.
    """
    given = [*arguments, *[0] * (4 - len(arguments))]
    longs = [one if isinstance(one, ctypes.c_void_p) else ctypes.c_ulong(one) for one in given]
    _checked(_libc().prctl(option, *longs))


def system_call(number: int, *arguments: int | ctypes.c_void_p) -> int:
    """Make a system call by its number.

    Raises:
        OSError: It failed, or the kernel does not have it.
    """
    longs = [one if isinstance(one, ctypes.c_void_p) else ctypes.c_ulong(one) for one in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *longs))


def pointer(data: bytes) -> ctypes.c_void_p:
    """Point to a copy of some bytes, which lives as long as the pointer does."""
    return ctypes.cast(ctypes.create_string_buffer(data, len(data)), ctypes.c_void_p)


def renounce_privileges() -> None:
    """Let no program that is run gain rights; the filters of the kernel require it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up what root may do beyond others, except reading."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)  # 0 is the calling thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    _checked(_libc().capget(header, held))
    kept = 1 << _CAP_DAC_READ_SEARCH
    less = (ctypes.c_uint32 * 6)(held[0] & kept, held[1] & kept, 0, 0, 0, 0)
    _checked(_libc().capset(header, less))


def leave_network() -> None:
    """Move into a network that holds nothing."""
    _checked(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    drop_capabilities()  # one is root in a namespace of one's own


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
