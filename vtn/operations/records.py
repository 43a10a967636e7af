# SPDX-License-Identifier: Apache-2.0
"""/audit and /health: what was accepted from whom, and how the VTN is doing."""

from typing import Annotated

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from vtn.accounts import Act
from vtn.operations.needs import DeskHere
from vtn.records import AuditLine, Health


@get("/audit", act=Act.AUDIT)
async def list_audit(
    desk: DeskHere,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
    before: Annotated[int | None, QueryParameter(ge=0, le=2**53)] = None,
    actor: FromQuery[str | None] = None,
    subject: FromQuery[str | None] = None,
) -> list[AuditLine]:
    """Newest first; `before` is the number of the last line already seen."""
    return await desk.audit(limit=limit, before=before, actor=actor, subject=subject)


@get("/health", act=Act.VIEW)
async def show_health(desk: DeskHere) -> Health:
    """Counts of what matters; 503 where the database does not answer."""
    return await desk.health()


router = Router("/", route_handlers=[list_audit, show_health], tags=["records"])
