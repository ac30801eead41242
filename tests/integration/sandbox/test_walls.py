"""What a child cannot do, on a kernel that has all walls."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from tests.bad_extractors import TARGET
from vectorflow.domain.documents import Section
from vectorflow.sandbox.extractor import SandboxedExtractor
from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import places_of
from vectorflow.sandbox.pool import Pool, PoolOptions
from vectorflow.sandbox.walls import Wall, described

SECRET = "a-secret-of-the-worker"  # noqa: S105 - it is none


def _walls_of_the_kernel() -> frozenset[Wall]:
    """Ask the kernel itself: a wall that falls over must not be taken for a missing one."""
    if sys.platform != "linux":
        return frozenset()
    walls = {Wall.CAPABILITIES}
    if ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0:
        walls.add(Wall.LANDLOCK)
    has_filters = "Seccomp:" in Path("/proc/self/status").read_text(encoding="ascii")
    if has_filters and os.uname().machine in {"x86_64", "aarch64"}:
        walls.add(Wall.SECCOMP)
    return frozenset(walls)


WALLS = _walls_of_the_kernel()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    os.environ["VECTORFLOW_TEST_SECRET"] = SECRET
    options = PoolOptions(children=1)
    with closing(Pool(lambda: places_of({"vectorflow", "tests"}), options=options)) as pool:
        child = pool.take()
        pool.give_back(child)
        assert child.walls >= WALLS
        if not {Wall.LANDLOCK, Wall.SECCOMP} <= WALLS:
            pytest.skip(f"this kernel has nothing but {', '.join(WALLS) or 'limits'}")
        yield pool
    del os.environ["VECTORFLOW_TEST_SECRET"]


def answer(pool: Pool, deed: str) -> str:
    extractor = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor")
    sections = list(extractor.extract(BytesIO(deed.encode())))
    return "".join(section.text for section in sections if isinstance(section, Section))


@pytest.mark.parametrize(
    "deed",
    [
        "fork", "spawn", "exec", "socket", "socket6", "unix", "datagram", "passwd", "parent",
        "project", "write", "remove", "rename", "mkdir", "chmod", "truncate", "memfd",
        "kill_parent", "slow_parent",
    ],
)  # fmt: skip
def test_a_child_may_not(pool: Pool, deed: str) -> None:
    assert answer(pool, deed) == "PermissionError"
    assert not TARGET.exists()


def test_what_a_child_is_refused_is_possible_here() -> None:
    """The refusals are the walls' doing."""
    assert Path("/etc/passwd").read_bytes()
    assert Path(f"/proc/{os.getpid()}/environ").read_bytes()
    TARGET.touch()
    TARGET.unlink()


@pytest.mark.parametrize(
    ("deed", "said"), [("thread", "from a thread"), ("pair", "2"), ("own_code", "True")]
)
def test_a_child_may_do_what_libraries_need(pool: Pool, deed: str, said: str) -> None:
    assert answer(pool, deed) == said


def test_a_child_knows_nothing_of_the_environment(pool: Pool) -> None:
    names = {line.partition("=")[0] for line in answer(pool, "environment").splitlines()}

    assert SECRET not in answer(pool, "environment")
    assert names - {"LC_CTYPE", "LD_LIBRARY_PATH", "TZ"} == {
        "HOME", "LC_ALL", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUTF8", "RAYON_NUM_THREADS", "TMPDIR",
        "TOKIO_WORKER_THREADS",
    }  # fmt: skip


def test_a_child_holds_no_file_of_the_worker(pool: Pool) -> None:
    with Path("/etc/passwd").open("rb"):
        held = answer(pool, "descriptors").strip("[]").split(", ")

    assert held[:3] == ["0", "1", "2"]
    assert len(held) == 7  # connection, lifeline, its own memory, and the listing itself


def test_the_walls_are_described(pool: Pool) -> None:
    child = pool.take()
    pool.give_back(child)

    said = described(Limits(), child.walls)

    assert sys.platform == "linux"
    assert said == (
        "memory 1,024 MiB, CPU 300 s, silence 120 s, output 200,000,000 characters,"
        " no network, no processes, no file written (seccomp),"
        " no file read but libraries (landlock)"
    )
    assert described(Limits(), {Wall.NAMESPACE}).endswith("characters, no network (namespace)")
