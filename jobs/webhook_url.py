"""Where a webhook may go, as far as its URL tells: asked when a job is submitted, and again when it is sent."""

from ipaddress import ip_address

from pydantic import HttpUrl, ValidationError

from jobs.addresses import may_be_called

REFUSED_PORTS = {
    0: "nothing",
    21: "FTP",
    22: "SSH",
    23: "Telnet",
    25: "SMTP",
    53: "DNS",
    110: "POP3",
    119: "NNTP",
    143: "IMAP",
    389: "LDAP",
    465: "SMTP",
    563: "NNTP",
    587: "SMTP",
    636: "LDAP",
    989: "FTP",
    990: "FTP",
    993: "IMAP",
    995: "POP3",
    2525: "SMTP",
    6667: "IRC",
    6697: "IRC",
}
"""Ports of protocols that read lines and might take a request for one of theirs. Any other port will do."""


class WebhookUrlRefused(ValueError):
    """No webhook goes there. The message says why, and holds nothing of the URL but its host."""


def parse_webhook_url(url: str, allow_private: bool) -> HttpUrl:
    """The URL as it will be called. Raises `WebhookUrlRefused`.

    What its host's name resolves to is checked when the webhook is sent, for it may change.
    """
    try:
        parsed = HttpUrl(url)
    except ValidationError:
        raise WebhookUrlRefused("it is no URL; it must look like https://host/path") from None
    if parsed.scheme != "https" and not allow_private:
        raise WebhookUrlRefused("webhooks go to https:// only; plain http needs UNFOG_WEBHOOK_ALLOW_PRIVATE=true")
    if parsed.username is not None or parsed.password is not None:
        raise WebhookUrlRefused("it must not hold a user name or a password; the signature shows who sends")
    if parsed.port in REFUSED_PORTS:
        raise WebhookUrlRefused(f"port {parsed.port} is for {REFUSED_PORTS[parsed.port]}; use another one")
    host = host_of(parsed)
    if not _may_be_asked(host, allow_private):
        hint = "" if allow_private else "; addresses of this site need UNFOG_WEBHOOK_ALLOW_PRIVATE=true"
        raise WebhookUrlRefused(f"{host} is not a public address{hint}")
    return parsed


def host_of(url: HttpUrl) -> str:
    """Its host: a name in ASCII, or an address without brackets."""
    assert url.host is not None
    return url.host.strip("[]")


def shown_host(url: str) -> str:
    """What logs and lists may show of any URL: its host, or nothing."""
    try:
        return host_of(HttpUrl(url))
    except ValidationError:
        return ""


def _may_be_asked(host: str, allow_private: bool) -> bool:
    """Whether an address may be called; of names it knows only the one that always means this machine."""
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return allow_private
    try:
        ip_address(host)
    except ValueError:
        return True
    return may_be_called(host, allow_private)
