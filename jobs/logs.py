"""Logs of every process: one line an event on standard error, for people or for machines."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

LogFormat = Literal["auto", "json", "text"]

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(level: str, form: LogFormat = "auto") -> None:
    """Log from `level` up, what libraries say through `logging` included; their details never.

    `auto` is text on a terminal and JSON elsewhere.
    """
    on_terminal = sys.stderr.isatty()
    as_text = form == "text" or (form == "auto" and on_terminal)
    least: int = getattr(logging, level.upper())
    # No values of local variables in either: they may be secrets.
    renderer: tuple[Processor, ...] = (
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    )
    if as_text:
        console = structlog.dev.ConsoleRenderer(
            colors=on_terminal,
            exception_formatter=structlog.dev.plain_traceback,
            repr_native_str=True,  # a line break in a value begins no new line
        )
        renderer = (console,)
    structlog.configure(
        processors=[*_SHARED, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        # One write a line: several processes share the stream.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(least, logging.INFO))
