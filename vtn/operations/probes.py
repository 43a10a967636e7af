# SPDX-License-Identifier: Apache-2.0
"""/healthz, /readyz and /metrics: for service managers, load balancers and Prometheus.

The first two want no token and say nothing about anybody.
"""

from http import HTTPStatus

import msgspec
from litestar import MediaType, Response, Router, get

from vtn import metrics
from vtn.accounts import Act
from vtn.operations.needs import DeskHere, VitalsHere


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The body of /readyz."""

    ready: bool
    problems: list[str]
    """What keeps this process from serving."""
    warnings: list[str]
    """What does not, but should be seen to."""


@get("/healthz", media_type=MediaType.TEXT, include_in_schema=False, act=Act.OPEN)
async def show_alive() -> str:
    """That there is an answer says it: the process is there and its event loop turns."""
    return "ok\n"


@get("/readyz", include_in_schema=False, act=Act.OPEN)
async def show_ready(vitals: VitalsHere) -> Response[Readiness]:
    """503 while this process cannot serve VENs."""
    problems = await vitals.problems()
    return Response(
        Readiness(ready=not problems, problems=problems, warnings=vitals.warnings()),
        status_code=HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK,
    )


@get("/metrics", include_in_schema=False, act=Act.SCRAPE)
async def show_metrics(vitals: VitalsHere, desk: DeskHere) -> Response[bytes]:
    """Everything that is counted, of all workers."""
    return Response(await metrics.exposition(vitals, desk), media_type=metrics.MEDIA_TYPE)


router = Router("/", route_handlers=[show_alive, show_ready, show_metrics])
