"""What every secret store must do. Subclass the suite and give three stores."""

import base64
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorflow.errors import Unsealable
from vectorflow.ports.secret_store import SecretStore

SECRET = "sk-Ünder-the-doormat-0123456789"  # noqa: S105 - opens nothing
CONTEXT = "default/job/7"


class SecretStoreSuite:
    """The laws of the port `secret_store`."""

    @pytest.fixture
    def store(self) -> SecretStore:
        """Give a store."""
        raise NotImplementedError

    @pytest.fixture
    def second(self) -> SecretStore:
        """Give another store with the keys of `store`, as another process has."""
        raise NotImplementedError

    @pytest.fixture
    def stranger(self) -> SecretStore:
        """Give a store with another key."""
        raise NotImplementedError

    @pytest.mark.parametrize("secret", ["", "x", SECRET, "\0\n", "long " * 20_000])
    def test_what_was_sealed_is_opened_in_its_context(
        self, store: SecretStore, second: SecretStore, secret: str
    ) -> None:
        sealed = store.seal(secret, context=CONTEXT)

        assert store.unseal(sealed, context=CONTEXT) == secret
        assert second.unseal(sealed, context=CONTEXT) == secret

    def test_a_context_may_be_empty_or_anything_else(self, store: SecretStore) -> None:
        for context in ("", "größer", "a" * 10_000):
            sealed = store.seal(SECRET, context=context)
            assert store.unseal(sealed, context=context) == SECRET

    def test_what_is_sealed_is_printable_ascii_on_one_line(self, store: SecretStore) -> None:
        sealed = store.seal(SECRET * 100, context=CONTEXT)

        assert sealed.isascii()
        assert sealed.isprintable()

    def test_what_is_sealed_does_not_show_the_secret(self, store: SecretStore) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)

        plain = SECRET.encode()
        shown = sealed.encode(), _unpacked(sealed)
        for form in (plain, plain.hex().encode(), base64.b64encode(plain)[:-4], plain[::-1]):
            assert not any(form in text for text in shown)

    @pytest.mark.parametrize("other", ["", "default/job/8", "other/job/7", CONTEXT + " "])
    def test_another_context_opens_nothing(self, store: SecretStore, other: str) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)

        with pytest.raises(Unsealable):
            store.unseal(sealed, context=other)

    def test_another_key_opens_nothing(self, store: SecretStore, stranger: SecretStore) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)
        stranger.seal(SECRET, context=CONTEXT)

        with pytest.raises(Unsealable):
            stranger.unseal(sealed, context=CONTEXT)

    def test_a_change_anywhere_is_noticed(self, store: SecretStore) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)

        for at, character in enumerate(sealed):
            other = "A" if character != "A" else "B"
            with pytest.raises(Unsealable):
                store.unseal(sealed[:at] + other + sealed[at + 1 :], context=CONTEXT)

    def test_what_is_cut_or_longer_is_refused(self, store: SecretStore) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)

        for length in range(len(sealed)):
            with pytest.raises(Unsealable):
                store.unseal(sealed[:length], context=CONTEXT)
        for before, after in (("", "A"), ("", "\n"), (" ", ""), ("AAAA", ""), ("", sealed)):
            longer = f"{before}{sealed}{after}"
            with pytest.raises(Unsealable):
                store.unseal(longer, context=CONTEXT)

    @pytest.mark.parametrize("text", ["", "=", "A", "nonsense", "ü", SECRET, "A" * 500])
    def test_what_was_never_sealed_is_refused(self, store: SecretStore, text: str) -> None:
        with pytest.raises(Unsealable):
            store.unseal(text, context=CONTEXT)

    def test_sealing_again_shows_nothing_that_is_the_same(self, store: SecretStore) -> None:
        """Equal secrets cannot be told from others, nor like beginnings from unlike ones."""
        same = "x" * 3_000
        seals = [store.seal(same + secret, context=CONTEXT) for secret in ("1", "1", "2")]

        first, *others = (_unpacked(sealed) for sealed in seals)
        for other in others:
            alike = sum(one == two for one, two in zip(first, other, strict=False))
            assert alike < len(first) / 10

    def test_no_seal_is_made_twice(self, store: SecretStore) -> None:
        assert len({store.seal("", context=CONTEXT) for _ in range(5_000)}) == 5_000

    def test_an_error_tells_no_secret(self, store: SecretStore, stranger: SecretStore) -> None:
        sealed = store.seal(SECRET, context=CONTEXT)

        for opened, context in ((store, "other"), (stranger, CONTEXT)):
            with pytest.raises(Unsealable) as caught:
                opened.unseal(sealed, context=context)
            told = f"{caught.value} {caught.value!r}"
            assert SECRET not in told
            assert sealed not in told

    def test_many_threads_seal_and_open_at_once(
        self, store: SecretStore, second: SecretStore
    ) -> None:
        def there_and_back(number: int) -> bool:
            secret = secrets.token_urlsafe(number)
            sealed = (store, second)[number % 2].seal(secret, context=str(number))
            return store.unseal(sealed, context=str(number)) == secret

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(there_and_back, range(200)))


def _unpacked(sealed: str) -> bytes:
    """The bytes behind base64, where it is that."""
    try:
        return base64.urlsafe_b64decode(sealed)
    except ValueError:
        return sealed.encode()
