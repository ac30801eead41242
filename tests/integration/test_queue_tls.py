"""A broker behind TLS must be who it is said to be, before it is told a password."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.brokers import PASSWORD
from vectorflow.adapters.queues.kombu import KombuQueue
from vectorflow.errors import InvalidSetting, Unavailable
from vectorflow.ports.queue import ALL


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost`, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@dataclass(slots=True)
class Stranger:
    """Takes connections with TLS, notes what it is told, and hangs up."""

    listener: socket.socket
    tls: ssl.SSLContext
    told: list[bytes] = field(default_factory=list[bytes])

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self.listener.accept()
                plain.settimeout(5)
                with suppress(OSError), self.tls.wrap_socket(plain, server_side=True) as safe:
                    self.told.append(safe.recv(4096))


@pytest.fixture
def stranger(certificate: Path) -> Iterator[Stranger]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Stranger(listener, tls)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
def test_a_certificate_that_nobody_vouches_for_is_refused(stranger: Stranger, scheme: str) -> None:
    queue = KombuQueue(f"{scheme}://me:{PASSWORD}@localhost:{stranger.port}/")

    with pytest.raises(InvalidSetting, match=r"certificate .* is not trusted"):
        queue.check(ALL)

    assert stranger.told == []


@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
def test_a_certificate_of_another_host_is_refused(
    stranger: Stranger, scheme: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    queue = KombuQueue(f"{scheme}://me:{PASSWORD}@127.0.0.1:{stranger.port}/")

    with pytest.raises(InvalidSetting, match=r"certificate .* is not trusted"):
        queue.check(ALL)

    assert stranger.told == []


@pytest.mark.parametrize("scheme", ["amqps", "rediss"])
def test_a_certificate_that_is_right_is_spoken_to(
    stranger: Stranger, scheme: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    queue = KombuQueue(f"{scheme}://me:{PASSWORD}@localhost:{stranger.port}/")

    with pytest.raises(Unavailable):  # it hangs up
        queue.check(ALL)

    assert stranger.told
    assert stranger.told[0]
