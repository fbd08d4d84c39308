"""What every request passes on its way in and every answer on its way out. Pure ASGI: a stream goes through."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from app.metrics import Metrics
from app.middleware.compression import Compression
from app.middleware.faults import Faults
from app.middleware.head import Head
from app.middleware.openai_errors import OpenAIErrors
from app.middleware.request_log import RequestLog
from app.middleware.safe_headers import SafeHeaders
from jobs.settings import Settings

CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")
CORS_REQUEST_HEADERS = (
    "Accept",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-ID",
)
CORS_ANSWER_HEADERS = (
    "ETag",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)


def layers(settings: Settings, metrics: Metrics) -> list[Middleware]:
    """The layers of the application, outermost first."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_REQUEST_HEADERS,
        expose_headers=CORS_ANSWER_HEADERS,
    )
    return [
        Middleware(RequestLog, metrics=metrics),
        Middleware(SafeHeaders),
        Middleware(Head),
        *([cors] if settings.cors_origins else []),
        Middleware(Compression),
        Middleware(OpenAIErrors),
        Middleware(Faults),
    ]
