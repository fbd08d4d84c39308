"""One try: a signed POST to an address that was checked, and what its status means.

Every try has a connection of its own, to the address that was looked up for it. The certificate is checked
against the name in the URL. Redirects are not followed, proxies of the environment not used, and of the answer
nothing counts but its status.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from pydantic import HttpUrl
from standardwebhooks import Webhook as Signer

from dispatch.lookup import AddressRefused, HostUnknown, Resolve, addresses_of
from dispatch.pace import Pace
from jobs.webhook import Webhook, secret_of
from jobs.webhook_url import host_of

ADDRESSES = 4
"""How many of a host's addresses are tried, one after the other."""
ANSWER_BYTES = 4096
ANSWER_S = 1.0
"""How much of an answer is read, and for how long, so that a short one ends in peace."""


@dataclass(frozen=True)
class Delivered:
    """The receiver has it (2xx)."""

    status: int


@dataclass(frozen=True)
class Gone:
    """The receiver says that it wants none (410)."""

    status: int = httpx.codes.GONE


@dataclass(frozen=True)
class Failed:
    """It may work another time. The reason is in words of ours: none of the receiver's get into logs."""

    reason: str


Outcome = Delivered | Gone | Failed


class Sender:
    """Sends webhooks, each signed with the secret of its caller.

    `secret` is what those are derived from; `now` is asked for the time of each try.
    """

    def __init__(
        self,
        secret: str,
        resolve: Resolve,
        pace: Pace,
        *,
        allow_private: bool,
        public_url: str = "",
        tls: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._secret, self._resolve, self._pace = secret, resolve, pace
        self._allow_private = allow_private
        self._public_url = public_url.rstrip("/")
        self._tls = tls or httpx.create_ssl_context()
        self._now = now

    async def send(self, webhook: Webhook, url: HttpUrl) -> Outcome:
        """Try once, within the time for a try."""
        try:
            async with asyncio.timeout(self._pace.try_s) as limit:
                return await self._try(webhook, httpx.URL(str(url)), host_of(url), limit)
        except TimeoutError:
            return Failed("no answer in time")
        except HostUnknown:
            return Failed("unknown host")
        except AddressRefused:
            return Failed("address refused")

    async def _try(self, webhook: Webhook, url: httpx.URL, host: str, limit: asyncio.Timeout) -> Outcome:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await addresses_of(self._resolve, host, port, self._allow_private)
        failed = Failed("cannot connect")
        for address in addresses[:ADDRESSES]:
            try:
                return await self._post(self._request(webhook, url, host, address), limit)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing has been sent yet
                failed = Failed(_of_connecting(error))
            except httpx.TimeoutException:
                return Failed("no answer in time")
            except (httpx.HTTPError, httpx.InvalidURL):
                return Failed("connection broken")
        return failed

    def _request(self, webhook: Webhook, url: httpx.URL, host: str, address: str) -> httpx.Request:
        """The request to one address of a host, for which it names that host."""
        now = self._now()
        body = body_of(webhook, self._public_url)
        signer = Signer(secret_of(self._secret, webhook.caller))
        return httpx.Request(
            "POST",
            url.copy_with(host=address),
            headers={
                "Host": url.netloc.decode("ascii"),
                "Connection": "close",
                "Content-Type": "application/json",
                "User-Agent": "Unfog",
                "webhook-id": webhook.id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signer.sign(webhook.id, now, body),
            },
            content=body.encode(),
            extensions={
                "sni_hostname": host.rstrip("."),
                "timeout": httpx.Timeout(self._pace.try_s, connect=self._pace.connect_s).as_dict(),
            },
        )

    async def _post(self, request: httpx.Request, limit: asyncio.Timeout) -> Outcome:
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            limit.reschedule(None)  # the status has come; what follows must not undo it
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                await _read_a_little(response)
            return _meaning(response.status_code)


def body_of(webhook: Webhook, public_url: str) -> str:
    """What is sent: the same text at every try."""
    url = f"{public_url}/v1/jobs/{webhook.job}"
    images = [{**image, "url": f"{url}/images/{image['index']}.png"} for image in webhook.data["images"]]
    data = {**webhook.data, "images": images, "urls": {"self": url}}
    return json.dumps({"type": webhook.event, "timestamp": webhook.at, "data": data}, separators=(",", ":"))


def _meaning(status: int) -> Outcome:
    if 200 <= status <= 299:
        return Delivered(status)
    if status == httpx.codes.GONE:
        return Gone()
    return Failed(f"status {status}")


def _of_connecting(error: BaseException) -> str:
    """Why there is no connection, as far as it helps whoever runs the receiver."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate refused"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return "no connection in time" if isinstance(error, httpx.ConnectTimeout) else "cannot connect"


async def _read_a_little(response: httpx.Response) -> None:
    read = 0
    async with asyncio.timeout(ANSWER_S):
        async for chunk in response.aiter_raw():
            read += len(chunk)
            if read > ANSWER_BYTES:
                break
    await response.aclose()
