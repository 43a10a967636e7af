# SPDX-License-Identifier: Apache-2.0
"""The operator's API put together: /api/v1/…, the token, the refusals, /openapi.json; probes."""

import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from litestar import Litestar, Request, Router, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import OpenAPIMediaType
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.template import TemplateConfig
from litestar.types import ControllerRouterHandler

from vtn.accounts import Act
from vtn.accounts.accounts import Accounts
from vtn.config import Settings
from vtn.credential import read_token
from vtn.desk import Desk
from vtn.live import Feed
from vtn.operations import enrolment, events, live, probes, records, reports, users, vens
from vtn.operations.access import Access, Csrf, operator, person
from vtn.operations.problems import Refusals, by_asker, known_queries_only
from vtn.operations.readable import show_page
from vtn.vitals import Vitals

PREFIX: Final = "/api/v1"
MAX_BYTES: Final = 1_000_000


def _now() -> datetime:
    return datetime.now(UTC)


@get(
    "/openapi.json", act=Act.OPEN, include_in_schema=False, media_type=OpenAPIMediaType.OPENAPI_JSON
)
async def show_schema(request: Request[Any, Any, State]) -> dict[str, Any]:
    """What the API takes and says, as OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


def api_router() -> Router:
    """Every route of the API."""
    return Router(
        PREFIX,
        route_handlers=[
            vens.router,
            events.router,
            reports.router,
            records.router,
            enrolment.router,
            users.router,
        ],
        before_request=known_queries_only,
    )


def description() -> OpenAPIConfig:
    """What stands over the API's description."""
    return OpenAPIConfig(
        title="demandflex VTN: the operator's API",
        version=version("demandflex"),
        openapi_router=Router(
            "/api/schema", route_handlers=[], include_in_schema=False, opt={"act": Act.OPEN}
        ),
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
        ),
        security=[{"token": []}],
    )


def make_app(
    desk: Desk,
    settings: Settings,
    vitals: Vitals,
    *,
    accounts: Accounts | None = None,
    feed: Feed | None = None,
    console: Sequence[ControllerRouterHandler] = (),
    templates: TemplateConfig[Any] | None = None,
    pages: Refusals | None = None,
    now: Callable[[], datetime] = _now,
) -> Litestar:
    """The ASGI application; without `accounts` for who has the token only.

    With a `feed` there is /live, where it is told what changes.
    `console` are the pages for browsers, made of `templates`; `pages` what a browser is shown where
    no page of the console refuses by itself.
    Raises Unauthorised where a token cannot be read.
    """
    token = read_token(settings.operator.token_file)
    scrapers = settings.operator.metrics_token_file
    access = Access(
        token, metrics_token=read_token(scrapers) if scrapers else None, accounts=accounts
    )
    csrf = CSRFConfig(
        secret=hmac.digest(token.encode(), b"forms of the console", "sha256").hex(),
        cookie_name="vtn_csrf",
        cookie_secure=settings.operator.cert is not None,
        cookie_samesite="strict",
    )
    return Litestar(
        [
            api_router(),
            probes.router,
            show_schema,
            show_page,
            *([live.router] if feed is not None else []),
            *console,
        ],
        template_config=templates,
        guards=[access.admit],
        middleware=[DefineMiddleware(Csrf, config=csrf)],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "vitals": Provide(lambda: vitals, sync_to_thread=False),
            "now": Provide(lambda: now, sync_to_thread=False),
            "by": Provide(operator, sync_to_thread=False),
            "who": Provide(person, sync_to_thread=False),
            "accounts": Provide(lambda: accounts, sync_to_thread=False),
            "feed": Provide(lambda: feed, sync_to_thread=False),
        },
        exception_handlers=by_asker(pages or {}, otherwise_page=False),
        openapi_config=description(),
        request_max_body_size=MAX_BYTES,
        logging_config=None,  # structlog is set up at the program's door
    )
