# SPDX-License-Identifier: Apache-2.0
"""Logs: structlog to stderr, readable at a terminal, JSON lines under systemd and in files."""

import logging
import sys

import structlog


def configure_logs(*, verbose: bool = False) -> None:
    """Set up structlog once, at the start of a program; DEBUG with `verbose`, else INFO."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks if not person else structlog.dev.set_exc_info,
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
