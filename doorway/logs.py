# SPDX-License-Identifier: Apache-2.0
"""Logs: structlog to stderr, readable at a terminal, JSON lines under systemd and in files.

This is the one door of structlog: it is imported here, without rich (8 MB) and greenlet (1 MB),
which a log does not need.
"""

import logging
import sys
from typing import Literal

import click
import msgspec

from doorway.spared import in_place_of, later, tls_later, without

# structlog imports asyncio, and that all of TLS. It takes pickle for a refusal to be pickled.
with (
    without("rich", "greenlet"),
    tls_later(),
    in_place_of("pickle", PicklingError=TypeError),
    later("asyncio.sslproto", "structlog.stdlib", "structlog.twisted"),
):
    import structlog
    from structlog import get_logger

LogFormat = Literal["auto", "text", "json"]

__all__ = ["LOG_FORMAT", "LogFormat", "configure_logs", "get_logger"]

LOG_FORMAT = click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    envvar="LOG_FORMAT",
    help="auto: text at a terminal, else JSON lines.",
)
"""The option of every program that goes on running."""


def configure_logs(*, verbose: bool = False, log_format: LogFormat = "auto") -> None:
    """Set up structlog once, at the start of a program; DEBUG with `verbose`, else INFO.

    A line of JSON bears `timestamp` (UTC), `level`, `event` (what happened) and what belongs to it.
    """
    person = sys.stderr.isatty() if log_format == "auto" else log_format == "text"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_for_people() if person else _for_programs()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(one, _Handed) for one in root.handlers):
        root.addHandler(_Handed(logging.WARNING))


class _Handed(logging.Handler):
    """Hands what libraries log (asyncio, aiohttp, SQLAlchemy ...) on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def _for_people() -> list[structlog.types.Processor]:
    return [
        structlog.dev.set_exc_info,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _for_programs() -> list[structlog.types.Processor]:
    # Without the local variables: a key or a token may stand in one.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, use_rich=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(_json),
    ]


def _json(line: object, **_options: object) -> str:
    return msgspec.json.encode(line, enc_hook=repr).decode()
