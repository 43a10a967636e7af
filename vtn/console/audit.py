# SPDX-License-Identifier: Apache-2.0
"""Audit: who did what to what, and when."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from litestar import get
from litestar.response import Stream, Template

from vtn.accounts import Act
from vtn.console import words
from vtn.console.asked import Asked
from vtn.console.forms import Form
from vtn.console.shell import AnyRequest, ShellHere
from vtn.console.spans import span_of
from vtn.desk import Desk
from vtn.export import no_formula
from vtn.operations.needs import DeskHere, NowHere

_SIZE: Final = 100
_PART: Final = 1000
_HEADS: Final = ("number", "at", "actor", "act", "subject", "outcome", "detail")


@get("/audit", act=Act.AUDIT)
async def list_lines(request: AnyRequest, shell: ShellHere, desk: DeskHere) -> Template:
    asked = Asked(request)
    form = Form(asked.values())
    since, until = _span(asked, shell.now, form)
    before = asked.number("before", 0) or None
    found = await desk.find_acts(
        asked.text("q"), since=since, until=until, before=before, limit=_SIZE + 1
    )
    shown = found[:_SIZE]
    last = f": {shown[0].actor}, {shown[0].act}" if shown else ""
    return shell.page(
        "audit/list.html",
        title="Audit",
        here="audit",
        first=f"Last done {words.ago(shown[0].at, shell.now)}{last}"
        if shown
        else "No line is like that",
        status=422 if form.is_refused else 200,
        form=form,
        found=shown,
        newest=asked.address(before="") if before is not None else "",
        after=asked.address(before=shown[-1].number) if len(found) > _SIZE else "",
        csv_url=asked.address("/audit.csv", before=""),
    )


@get("/audit.csv", act=Act.AUDIT)
async def export_lines(request: AnyRequest, desk: DeskHere, now: NowHere) -> Stream:
    """All lines that are asked for, however many; a thousand at a time."""
    asked = Asked(request)
    since, until = _span(asked, now(), Form())
    return Stream(
        _lines(desk, asked.text("q"), since, until),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="audit-{now():%Y%m%dT%H%M}Z.csv"'},
    )


async def _lines(
    desk: Desk, search: str, since: datetime | None, until: datetime | None
) -> AsyncIterator[str]:
    before: int | None = None
    heads: Sequence[Sequence[object]] = [_HEADS]
    while True:
        found = await desk.find_acts(search, since=since, until=until, before=before, limit=_PART)
        rows = [
            (
                one.number,
                words.stamp(one.at),
                *map(no_formula, (one.actor, one.act, one.subject, one.outcome, one.detail)),
            )
            for one in found
        ]
        yield _csv([*heads, *rows])
        if len(found) < _PART:
            return
        before, heads = found[-1].number, ()


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _span(asked: Asked, now: datetime, form: Form) -> tuple[datetime | None, datetime | None]:
    """All there is, unless a time was asked for."""
    if not (asked.text("from") or asked.text("to")):
        return None, None
    span = span_of(asked, now, form)
    return (None, None) if form.is_refused else (span.starts_at, span.ends_at)


handlers = [list_lines, export_lines]
