"""AES-256-GCM, with a key of the settings or one that lies in a file.

What is sealed reads, in base64: a version byte, the id of the key, the nonce, the ciphertext with
its tag. The first two are authenticated with the context. The id is a piece of the key's hash: it
finds the right one of several keys, and tells nothing about any.
"""

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vectorflow.adapters._disk import sync_folder
from vectorflow.errors import InvalidSetting, Unsealable
from vectorflow.ports.secret_store import SecretStore

KEY_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _ID_BYTES
_MAKE_KEY = "make one with `vectorflow secrets make-key`"
_LARGEST_FILE = 4096


class AesGcmSecretStore(SecretStore):
    """Seals with the first key, opens with any.

    Args:
        keys: In base64, with commas between, the newest first. None takes those of `file`, which
            is made with a fresh one when something is sealed and it is not there.
        file: Only its owner may read it.
    """

    def __init__(self, keys: str | None, file: Path) -> None:
        self._given = _read_keys(keys, "VECTORFLOW_SECRETS__KEY") if keys else None
        self._file = file
        self._of_file: Mapping[bytes, AESGCM] = {}

    def seal(self, secret: str, *, context: str) -> str:
        keys = self._given or self._of_file or self._load() or self._make()
        newest, key = next(iter(keys.items()))
        header = _VERSION + newest
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = key.encrypt(nonce, secret.encode(), header + context.encode())
        return _encode(header + nonce + ciphertext)

    def unseal(self, sealed: str, *, context: str) -> str:
        data = _decode(sealed)
        header, body = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
        nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        key = self._find(header[len(_VERSION) :])
        try:
            opened = key.decrypt(nonce, ciphertext, header + context.encode())
        except (InvalidTag, ValueError) as error:
            message = "a sealed secret was changed, or moved to another place"
            raise Unsealable(message, fix="give it anew") from error
        return opened.decode()

    def _find(self, id: bytes) -> AESGCM:
        """Find a key by its id; a file is read again, as another process may have written it."""
        keys = self._given or self._of_file
        if id not in keys and self._given is None:
            keys = self._load()
        if id not in keys:
            raise Unsealable("a secret was sealed with a key that is not known here")
        return keys[id]

    def _load(self) -> Mapping[bytes, AESGCM]:
        text = _read_file(self._file)
        self._of_file = {} if text is None else _read_keys(text, str(self._file))
        return self._of_file

    def _make(self) -> Mapping[bytes, AESGCM]:
        _make_file(self._file, new_key())
        return self._load()


def new_key() -> str:
    """Make a key, as settings and the file hold it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _read_keys(text: str, place: str) -> dict[bytes, AESGCM]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidSetting(f"{place} is empty", fix=_MAKE_KEY)
    return dict(_read_key(part, place) for part in parts)


def _read_key(text: str, place: str) -> tuple[bytes, AESGCM]:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        message = f"{place} holds what is not {KEY_BYTES} bytes in base64"
        raise InvalidSetting(message, fix=_MAKE_KEY)
    return hashlib.sha256(b"vectorflow key id" + key).digest()[:_ID_BYTES], AESGCM(key)


def _read_file(path: Path) -> str | None:
    """Read the keys of a file; None where there is no file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if mode & 0o077:
        message = f"{path} may be read by others ({mode & 0o777:o})"
        fix = f"run chmod 600 {path}; if others saw it, change the key"
        raise InvalidSetting(message, fix=fix)
    return data.decode("ascii", "replace")


def _make_file(path: Path, text: str) -> None:
    """Make a file that is never seen unfinished or by others; who comes second keeps the first."""
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # O_EXCL, 600
        draft = Path(name)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> InvalidSetting:
    message = f"{path} cannot be used: {error.strerror}"
    return InvalidSetting(message, fix="set VECTORFLOW_SECRETS__KEY, or check the data directory")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _decode(sealed: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(sealed.encode("ascii"))
    except ValueError:
        data = b""
    if data[:1] != _VERSION or _encode(data) != sealed:
        raise Unsealable("what should be a sealed secret is none", fix="give it anew")
    return data
