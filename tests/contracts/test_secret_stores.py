import base64
import os
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.contracts.suites import failures
from vectorflow.adapters.secret_stores.aesgcm import AesGcmSecretStore, new_key
from vectorflow.errors import InvalidSetting, Unsealable
from vectorflow.ports.secret_store import SecretStore
from vectorflow.testing.secret_stores import SecretStoreSuite

KEY = new_key()
NO_FILE = Path("/no/such/place/secret.key")


class TestAesGcm(SecretStoreSuite):
    @pytest.fixture
    def store(self) -> SecretStore:
        return AesGcmSecretStore(KEY, NO_FILE)

    @pytest.fixture
    def second(self) -> SecretStore:
        return AesGcmSecretStore(f" {KEY} ,", NO_FILE)

    @pytest.fixture
    def stranger(self) -> SecretStore:
        return AesGcmSecretStore(new_key(), NO_FILE)


class TestAesGcmWithAKeyFile(SecretStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SecretStore:
        return AesGcmSecretStore(None, tmp_path / "secret.key")

    @pytest.fixture
    def second(self, tmp_path: Path) -> SecretStore:
        return AesGcmSecretStore(None, tmp_path / "secret.key")

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> SecretStore:
        return AesGcmSecretStore(None, tmp_path / "other" / "secret.key")


def test_the_first_key_seals_and_all_open() -> None:
    old, new = new_key(), new_key()
    sealed = AesGcmSecretStore(old, NO_FILE).seal("s", context="c")
    both = AesGcmSecretStore(f"{new},{old}", NO_FILE)

    assert both.unseal(sealed, context="c") == "s"
    again = both.seal("s", context="c")
    assert AesGcmSecretStore(new, NO_FILE).unseal(again, context="c") == "s"
    with pytest.raises(Unsealable, match="VECTORFLOW_SECRETS__KEY"):
        AesGcmSecretStore(old, NO_FILE).unseal(again, context="c")


@pytest.mark.parametrize(
    "keys",
    [
        "short",
        "not base64 at all: ***",
        base64.b64encode(secrets.token_bytes(31)).decode(),
        base64.b64encode(secrets.token_bytes(33)).decode(),
        f"{KEY},short",
        ",",
        KEY[:-2] + "é=",
    ],
    ids=["short", "no-base64", "31-bytes", "33-bytes", "a-short-second", "none", "beyond-ascii"],
)
def test_a_key_that_is_none_is_refused_and_not_told(keys: str) -> None:
    with pytest.raises(InvalidSetting, match="VECTORFLOW_SECRETS__KEY") as caught:
        AesGcmSecretStore(keys, NO_FILE)

    assert "make-key" in caught.value.fix
    assert keys.strip(",") not in str(caught.value) or keys == ","
    assert KEY not in str(caught.value)


def test_a_key_file_is_made_when_something_is_sealed_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    store = AesGcmSecretStore(None, file)
    with pytest.raises(Unsealable):
        store.unseal(AesGcmSecretStore(KEY, file).seal("s", context="c"), context="c")
    assert not file.parent.exists()

    store.seal("s", context="c")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]
    assert len(base64.b64decode(file.read_text())) == 32


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_a_key_file_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        AesGcmSecretStore(None, tmp_path / "secret.key").seal("s", context="c")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret.key"
    sealed = AesGcmSecretStore(None, file).seal("s", context="c")
    file.chmod(mode)
    store = AesGcmSecretStore(None, file)

    with pytest.raises(InvalidSetting, match=f"may be read by others .*chmod 600 {file}"):
        store.seal("s", context="c")
    with pytest.raises(InvalidSetting, match="may be read by others"):
        store.unseal(sealed, context="c")

    file.chmod(0o600)
    assert store.unseal(sealed, context="c") == "s"


@pytest.mark.parametrize("text", ["", "\n", "short", "\xff\xfe", "x" * 100_000])
def test_a_key_file_without_a_key_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret.key"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(InvalidSetting, match=r"secret\.key"):
        AesGcmSecretStore(None, file).seal("s", context="c")

    assert file.read_text() == text


def test_a_place_where_no_file_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(InvalidSetting, match="cannot be used: Not a directory"):
        AesGcmSecretStore(None, tmp_path / "file" / "secret.key").seal("s", context="c")


def test_a_key_file_may_hold_an_older_key_too_and_is_read_anew_when_needed(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    running = AesGcmSecretStore(None, file)
    sealed = running.seal("s", context="c")
    file.write_text(f"{new_key()},{file.read_text()}")

    restarted = AesGcmSecretStore(None, file)

    assert restarted.unseal(sealed, context="c") == "s"
    assert running.unseal(restarted.seal("t", context="c"), context="c") == "t"


def test_a_lost_key_file_is_not_replaced_by_opening(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    sealed = AesGcmSecretStore(None, file).seal("s", context="c")
    file.unlink()

    with pytest.raises(Unsealable, match="not known here"):
        AesGcmSecretStore(None, file).unseal(sealed, context="c")

    assert not file.exists()


SEAL_AT_ONCE = """
import sys, time
from pathlib import Path
from vectorflow.adapters.secret_stores.aesgcm import AesGcmSecretStore
store = AesGcmSecretStore(None, Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
print(store.seal("from afar", context="c"))
"""


def test_processes_that_make_the_key_at_once_end_with_one(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    command = [sys.executable, "-c", SEAL_AT_ONCE, str(file)]
    pipe = subprocess.PIPE
    for _ in range(3):
        file.unlink(missing_ok=True)
        running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in running:
            assert one.stdin is not None
            one.stdin.close()
            one.stdin = None

        sealed = [one.communicate()[0].strip() for one in running]

        store = AesGcmSecretStore(None, file)
        assert [store.unseal(one, context="c") for one in sealed] == ["from afar"] * 4
        assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


# The suite turns red for a store that breaks the port.


class IgnoresTheContext(AesGcmSecretStore):
    def seal(self, secret: str, *, context: str) -> str:
        return super().seal(secret, context="")

    def unseal(self, sealed: str, *, context: str) -> str:
        return super().unseal(sealed, context="")


class ReusesTheNonce(AesGcmSecretStore):
    """And hides it behind something random."""

    _KEY = AESGCM(base64.b64decode(KEY))

    def seal(self, secret: str, *, context: str) -> str:
        ciphertext = self._KEY.encrypt(bytes(12), secret.encode(), context.encode())
        return base64.urlsafe_b64encode(secrets.token_bytes(12) + ciphertext).decode()

    def unseal(self, sealed: str, *, context: str) -> str:
        try:
            data = base64.urlsafe_b64decode(sealed)
            return self._KEY.decrypt(bytes(12), data[12:], context.encode()).decode()
        except Exception as error:
            raise Unsealable("no") from error


class SealsEqualSecretsAlike(AesGcmSecretStore):
    def __init__(self, keys: str | None, file: Path) -> None:
        super().__init__(keys, file)
        self._sealed: dict[tuple[str, str], str] = {}

    def seal(self, secret: str, *, context: str) -> str:
        return self._sealed.setdefault((secret, context), super().seal(secret, context=context))


class PlainText(AesGcmSecretStore):
    def seal(self, secret: str, *, context: str) -> str:
        return f"{secret}:{super().seal(secret, context=context)}"

    def unseal(self, sealed: str, *, context: str) -> str:
        return super().unseal(sealed.rpartition(":")[2], context=context)


class OnlyEncodes(AesGcmSecretStore):
    def seal(self, secret: str, *, context: str) -> str:
        return base64.urlsafe_b64encode(f"{context}\x1f{secret}".encode()).decode()

    def unseal(self, sealed: str, *, context: str) -> str:
        try:
            held, mark, secret = base64.urlsafe_b64decode(sealed).decode().partition("\x1f")
        except ValueError as error:
            raise Unsealable("no") from error
        if not mark or held != context:
            raise Unsealable("no")
        return secret


class AnyKeyWillDo(AesGcmSecretStore):
    def __init__(self, keys: str | None, file: Path) -> None:
        super().__init__(KEY, file)


class ForgivesWhatFollows(AesGcmSecretStore):
    def unseal(self, sealed: str, *, context: str) -> str:
        return super().unseal(sealed.strip(), context=context)


class GivesNothingInsteadOfFailing(AesGcmSecretStore):
    def unseal(self, sealed: str, *, context: str) -> str:
        try:
            return super().unseal(sealed, context=context)
        except Unsealable:
            return ""


class TellsWhatItCouldNotOpen(AesGcmSecretStore):
    def unseal(self, sealed: str, *, context: str) -> str:
        try:
            return super().unseal(sealed, context=context)
        except Unsealable as error:
            raise Unsealable(f"cannot open {sealed}") from error


class KnowsOnlyItsOwn(AesGcmSecretStore):
    def seal(self, secret: str, *, context: str) -> str:
        return super().seal(secret, context=f"{id(self)}{context}")

    def unseal(self, sealed: str, *, context: str) -> str:
        return super().unseal(sealed, context=f"{id(self)}{context}")


BROKEN = {
    IgnoresTheContext: "test_another_context_opens_nothing",
    ReusesTheNonce: "test_sealing_again_shows_nothing_that_is_the_same",
    SealsEqualSecretsAlike: "test_no_seal_is_made_twice",
    PlainText: "test_what_is_sealed_does_not_show_the_secret",
    OnlyEncodes: "test_what_is_sealed_does_not_show_the_secret",
    AnyKeyWillDo: "test_another_key_opens_nothing",
    ForgivesWhatFollows: "test_what_is_cut_or_longer_is_refused",
    GivesNothingInsteadOfFailing: "test_a_change_anywhere_is_noticed",
    TellsWhatItCouldNotOpen: "test_an_error_tells_no_secret",
    KnowsOnlyItsOwn: "test_what_was_sealed_is_opened_in_its_context",
}


async def failures_of(kind: type[AesGcmSecretStore]) -> set[str]:
    """Run the suite, and name the tests that fail."""

    def fixtures() -> dict[str, object]:
        stranger = kind(new_key(), NO_FILE)
        return {"store": kind(KEY, NO_FILE), "second": kind(KEY, NO_FILE), "stranger": stranger}

    return await failures(SecretStoreSuite, fixtures)


async def test_a_store_that_keeps_the_port_passes() -> None:
    assert await failures_of(AesGcmSecretStore) == set()


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_broken_store_is_caught(kind: type[AesGcmSecretStore]) -> None:
    assert BROKEN[kind] in await failures_of(kind)
