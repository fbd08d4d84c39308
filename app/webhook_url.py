"""Where a webhook may go, asked at submit; the address behind the name is looked at when one is sent."""

from jobs.errors import Refusal, RequestRefused
from jobs.settings import Settings
from jobs.webhook_url import WebhookUrlRefused, parse_webhook_url

POINTER = "/webhook_url"


def require_callable(url: str | None, settings: Settings) -> None:
    """Raise `RequestRefused` for a URL that no webhook would be sent to."""
    if url is None:
        return
    if not settings.webhook_secret.get_secret_value():
        detail = "webhooks are off here: UNFOG_WEBHOOK_SECRET is not set; leave webhook_url out"
        raise RequestRefused(Refusal(POINTER, "webhooks_off", detail))
    try:
        # What parsers read in different ways is not for any of them.
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise WebhookUrlRefused(
                "it must be ASCII without blanks and backslashes; write other characters percent-encoded"
            )
        if url.partition("://")[2].startswith("/"):
            raise WebhookUrlRefused("it names no host; it must look like https://host/path")
        parsed = parse_webhook_url(url, settings.webhook_allow_private)
        if parsed.username is not None or parsed.password is not None:
            raise WebhookUrlRefused("it must not hold a user name or a password")
    except WebhookUrlRefused as refused:
        raise RequestRefused(Refusal(POINTER, "bad_url", str(refused))) from None
