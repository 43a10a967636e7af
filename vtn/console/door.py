# SPDX-License-Identifier: Apache-2.0
"""The console put together: every page, the static files, the templates."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Router
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig

from vtn.accounts import Act
from vtn.console import (
    audit,
    event_live,
    events,
    groups,
    health,
    login,
    messages,
    modifying,
    node,
    node_acts,
    nodes,
    now,
    oidc_login,
    proposals,
    reports,
    stopping,
    users,
    wizard,
    words,
)
from vtn.console.board import Board
from vtn.console.shell import STATIC, STATIC_PATH, guarded, path_of, refusals, shell, static
from vtn.desk import Desk
from vtn.operations.problems import by_asker

TEMPLATES: Final = Path(__file__).parent / "templates"
_YEAR_S: Final = 365 * 24 * 3600


def routers(
    desk: Desk, clock: Callable[[], datetime], board: Board | None = None
) -> Sequence[Router]:
    """What the operators' listener serves to browsers, besides the API.

    Whoever gives the `board` closes it before the store.
    """
    board = board or Board(desk, clock)
    return [
        Router(
            "/",
            route_handlers=[
                *login.handlers,
                *oidc_login.handlers,
                *now.handlers,
                *wizard.handlers,
                *proposals.handlers,
                *events.handlers,
                *event_live.handlers,
                *modifying.handlers,
                *stopping.handlers,
                *nodes.handlers,
                *node.handlers,
                *node_acts.handlers,
                *groups.handlers,
                *reports.handlers,
                *messages.handlers,
                *audit.handlers,
                *health.handlers,
                *users.handlers,
            ],
            dependencies={
                "board": Provide(lambda: board, sync_to_thread=False),
                "shell": Provide(shell),
            },
            exception_handlers=by_asker(refusals(clock), otherwise_page=True),
            after_request=guarded,
            include_in_schema=False,
        ),
        create_static_files_router(
            path=STATIC_PATH,
            directories=[STATIC],
            cache_control=CacheControlHeader(max_age=_YEAR_S, public=True, immutable=True),
            opt={"act": Act.OPEN},
        ),
    ]


def templates() -> TemplateConfig[JinjaTemplateEngine]:
    """Every value is escaped; a name that is not given is a mistake, and told."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        static=static,
        path_of=path_of,
        unit_for=words.unit_for,
        several=words.several,
    )
    environment.filters.update(
        span=words.span,
        ago=words.ago,
        moment=words.moment,
        clock=words.clock,
        stamp=words.stamp,
        power=words.power,
        share=words.share,
        count=words.count,
    )
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))
