"""A webhook goes to the address that was checked, by the name that was asked for, and nowhere else."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import HttpUrl

from dispatch.lookup import Resolve, Resolver
from dispatch.pace import Pace
from dispatch.sender import Delivered, Failed, Outcome, Sender
from jobs.webhook import Webhook
from jobs.webhook_url import parse_webhook_url
from tests.dispatch.dispatching import FAST, sender_of, settings_of
from tests.dispatch.receiver import Receiver, free_port, receiving

WEBHOOK = Webhook(
    id="msg_1",
    job="job_1",
    caller="anonymous",
    url="",
    event="job.succeeded",
    at="2026-01-01T00:00:00.000Z",
    data={"images": []},
)


class Names:
    """A resolver that says what it is told, another thing at each lookup, and counts the lookups."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def send(sender: Sender, url: str) -> Outcome:
    """Try once; the URL has been looked at before."""
    return asyncio.run(sender.send(WEBHOOK, HttpUrl(url)))


def private(resolve: Resolve, **options: ssl.SSLContext) -> Sender:
    """A sender that may call this machine."""
    return sender_of(settings_of("redis://nowhere"), FAST, resolve, **options)


def public(resolve: Resolve, **options: ssl.SSLContext) -> Sender:
    """A sender that may call public addresses alone."""
    return sender_of(settings_of("redis://nowhere", webhook_allow_private=False), FAST, resolve, **options)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback")
def test_the_connection_goes_to_the_address_that_was_checked_and_names_the_host() -> None:
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    with (
        receiving(Receiver(), "127.0.0.2") as meant,
        receiving(Receiver(), "127.0.0.1", meant.port) as trap,
    ):
        assert send(private(names), meant.url(host="hooks.example")) == Delivered(204)
    assert names.asked == 1, "what a second lookup would say does not matter"
    assert len(meant.got) == 1
    assert meant.got[0].headers["host"] == f"hooks.example:{meant.port}"
    assert trap.got == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["127.0.0.1", "93.184.216.34"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["2606:4700::1", "::ffff:7f00:1"],
        ["64:ff9b::7f00:1"],
    ],
)
def test_a_name_with_any_address_of_this_site_is_not_called_at_all(addresses: list[str]) -> None:
    with receiving(Receiver()) as here:
        assert send(public(Names(addresses)), here.url(host="hooks.example")) == Failed("address refused")
    assert here.got == []


def test_this_machine_by_its_own_names_is_not_called_either() -> None:
    with receiving(Receiver()) as here:
        for host in ("localhost", "127.0.0.1", "0.0.0.0"):
            resolver = Resolver(1)
            outcome = send(public(resolver), here.url(host=host))
            resolver.close()
            assert outcome == Failed("address refused"), host
    assert here.got == []


def test_an_address_that_does_not_answer_gives_way_to_the_next() -> None:
    with receiving(Receiver()) as receiver:
        names = Names(["127.0.0.3", "127.0.0.1"])
        assert send(private(names), receiver.url(host="hooks.example")) == Delivered(204)


def loopback_has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not loopback_has_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address_is_called_as_one() -> None:
    with receiving(Receiver(), "::1") as receiver:
        assert send(private(Names(["::1"])), receiver.url(host="[::1]")) == Delivered(204)
    assert receiver.got[0].headers["host"] == f"[::1]:{receiver.port}"


def test_a_name_that_nobody_has_is_said_so() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    assert send(private(unknown), "http://hooks.example/") == Failed("unknown host")
    assert send(private(Names([])), "http://hooks.example/") == Failed("unknown host")
    resolver = Resolver(1)
    long = "a" * 64 + ".example"
    assert send(private(resolver), f"http://{long}/") == Failed("unknown host")
    resolver.close()


def test_a_lookup_that_hangs_ends_with_the_try() -> None:
    async def hangs(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    pace = Pace((1.0,), try_s=0.05)
    sender = sender_of(settings_of("redis://nowhere"), pace, hangs)
    assert send(sender, "http://hooks.example/") == Failed("no answer in time")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(Receiver()) as receiver, receiving(Receiver()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(private(Names(["127.0.0.1"])), receiver.url(host="hooks.example")) == Delivered(204)
    assert len(receiver.got) == 1
    assert proxy.got == []


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with receiving(Receiver(status=200, reply=b"x" * 16_000_000)) as receiver:
        assert send(private(Names(["127.0.0.1"])), receiver.url()) == Delivered(200)
    assert (len(receiver.got), receiver.answered) == (1, 0)


def test_a_receiver_that_is_not_there_cannot_be_connected_to() -> None:
    assert send(private(Names(["127.0.0.1"])), f"http://127.0.0.1:{free_port()}/") == Failed("cannot connect")


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def send_to(handler: Handler, pace: Pace) -> Outcome:
    """Try once with a receiver that is no HTTP server."""

    async def run() -> Outcome:
        done = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await handler(reader, writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            done.set()

        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            sender = sender_of(settings_of("redis://nowhere"), pace, Names(["127.0.0.1"]))
            port = server.sockets[0].getsockname()[1]
            outcome = await sender.send(WEBHOOK, HttpUrl(f"http://127.0.0.1:{port}/"))
            await done.wait()
            return outcome

    return asyncio.run(run())


def test_one_that_speaks_no_http_has_failed() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ready\r\n")

    assert send_to(greet, FAST) == Failed("connection broken")


def test_an_answer_that_trickles_counts_by_its_status() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n.")
        while await reader.read(1000):
            pass

    assert send_to(trickle, Pace((1.0,), try_s=0.3)) == Delivered(200)


def test_a_status_that_trickles_is_too_late() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)

    assert send_to(trickle, Pace((1.0,), try_s=0.3)) == Failed("no answer in time")


class Authority:
    """A certificate authority of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.certificate = folder, folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority of the tests",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def server_for(self, name: str) -> ssl.SSLContext:
        """What a server of that name shows."""
        (self.folder / "ext").write_text(
            f"subjectAltName={name}\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")  # fmt: skip
        self._openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-out", "server.pem", "-days", "2", "-extfile", "ext")  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context

    def trusted(self) -> ssl.SSLContext:
        """What a client needs that trusts it."""
        return ssl.create_default_context(cafile=self.certificate)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=30)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A fresh one."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    return Authority(tmp_path)


def test_over_tls_the_name_in_the_url_is_asked_for_and_checked(authority: Authority) -> None:
    with receiving(Receiver(), tls=authority.server_for("DNS:hooks.example")) as receiver:
        url = receiver.url(host="hooks.example", scheme="https")
        sender = private(Names(["127.0.0.1"]), tls=authority.trusted())
        assert send(sender, url) == Delivered(204)
        assert receiver.names == ["hooks.example"]
        assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"
        other = receiver.url(host="other.example", scheme="https")
        assert send(sender, other) == Failed("certificate refused")
    assert len(receiver.got) == 1


def test_a_certificate_for_the_address_alone_does_not_stand_for_the_name(authority: Authority) -> None:
    with receiving(Receiver(), tls=authority.server_for("IP:127.0.0.1")) as receiver:
        sender = private(Names(["127.0.0.1"]), tls=authority.trusted())
        assert send(sender, receiver.url(host="hooks.example", scheme="https")) == Failed("certificate refused")
        assert receiver.got == []
        assert send(sender, receiver.url(scheme="https")) == Delivered(204)


def test_an_authority_that_nobody_trusts_is_refused(authority: Authority) -> None:
    with receiving(Receiver(), tls=authority.server_for("DNS:hooks.example")) as receiver:
        sender = private(Names(["127.0.0.1"]))
        assert send(sender, receiver.url(host="hooks.example", scheme="https")) == Failed("certificate refused")
    assert receiver.got == []


def test_an_authority_of_ones_own_is_named_by_ssl_cert_file(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with receiving(Receiver(), tls=authority.server_for("DNS:hooks.example")) as receiver:
        sender = private(Names(["127.0.0.1"]))
        assert send(sender, receiver.url(host="hooks.example", scheme="https")) == Delivered(204)


def test_plain_http_where_tls_is_expected_fails(authority: Authority) -> None:
    with receiving(Receiver()) as receiver:
        sender = private(Names(["127.0.0.1"]), tls=authority.trusted())
        assert send(sender, receiver.url(host="hooks.example", scheme="https")) == Failed("TLS failed")
    assert receiver.got == []


def test_names_are_called_in_ascii() -> None:
    url = parse_webhook_url("http://münchen.example/", allow_private=True)
    with receiving(Receiver()) as receiver:
        assert send(
            private(Names(["127.0.0.1"])), str(url).replace(".example", f".example:{receiver.port}")
        ) == Delivered(204)
    assert receiver.got[0].headers["host"] == f"xn--mnchen-3ya.example:{receiver.port}"
