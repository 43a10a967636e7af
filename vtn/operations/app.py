# SPDX-License-Identifier: Apache-2.0
"""The operator's API put together: /api/v1/…, the token, the refusals, /openapi.json; probes."""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from vtn.config import Settings
from vtn.credential import read_token
from vtn.desk import Desk
from vtn.errors import VtnError
from vtn.operations import enrolment, events, probes, records, reports, vens
from vtn.operations.access import bearer, operator
from vtn.operations.problems import broken, known_queries_only, refused, too_deep, unfit
from vtn.vitals import Vitals

PREFIX: Final = "/api/v1"
MAX_BYTES: Final = 1_000_000


def _now() -> datetime:
    return datetime.now(UTC)


def make_app(
    desk: Desk, settings: Settings, vitals: Vitals, *, now: Callable[[], datetime] = _now
) -> Litestar:
    """The ASGI application. Raises Unauthorised where a token cannot be read."""
    token = read_token(settings.operator.token_file)
    scrapers = settings.operator.metrics_token_file
    return Litestar(
        [
            Router(
                PREFIX,
                route_handlers=[
                    vens.router,
                    events.router,
                    reports.router,
                    records.router,
                    enrolment.router,
                ],
                guards=[bearer(token)],
                before_request=known_queries_only,
            ),
            probes.make_router(bearer(token, *([read_token(scrapers)] if scrapers else []))),
        ],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "vitals": Provide(lambda: vitals, sync_to_thread=False),
            "now": Provide(lambda: now, sync_to_thread=False),
            "by": Provide(operator, sync_to_thread=False),
        },
        exception_handlers={
            VtnError: refused,
            HTTPException: unfit,
            RecursionError: too_deep,
            Exception: broken,
        },
        openapi_config=OpenAPIConfig(
            title="demandflex VTN: the operator's API",
            version=version("demandflex"),
            path="/",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"token": []}],
        ),
        request_max_body_size=MAX_BYTES,
        logging_config=None,  # structlog is set up at the program's door
    )
