# SPDX-License-Identifier: Apache-2.0
"""One node: what it measures, what it owes, its certificate, and what can be done about it."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Stream, Template

from vtn.accounts import Act
from vtn.console import charts, words
from vtn.console.asked import Asked
from vtn.console.downloads import csv_of, file_name, stamp
from vtn.console.forms import Form
from vtn.console.nodes import KINDS, spark
from vtn.console.pem import shown
from vtn.console.shell import AnyRequest, Shell, ShellHere, path_of
from vtn.console.spans import SPANS, span_of
from vtn.desk import Desk
from vtn.desk.nodes import Node
from vtn.desk.room import NodeState
from vtn.errors import Unknown
from vtn.ladder import verdict
from vtn.operations.needs import DeskHere
from vtn.records import Point

_WIDTH: Final = 1200
_TYPES: Final = {
    "usage": "what it takes",
    "x-effect": "its meter's verdict (1 reached, 0.5 in part, 0 not)",
}
LONGEST_RAW: Final = timedelta(days=11)
"""A file of more holds quarter hours."""


@get("/nodes/{ven_id:str}", act=Act.VIEW)
async def show_node(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Template:
    return await page(ven_id, Asked(request), shell, desk, Form())


async def page(
    ven_id: str, asked: Asked, shell: Shell, desk: Desk, form: Form, *, status: int = 200
) -> Template:
    """The page of a node, with a form on it as it was sent. Raises Unknown."""
    node = desk.node(ven_id)
    ven = await desk.fresh_ven(ven_id)
    points = await desk.points(ven_id)
    point = _chosen(points, asked.text("r"), asked.text("facet"))
    choose = Form(asked.values())
    span = span_of(asked, shell.now, choose)
    line = (await desk.sparks([ven_id])).get(ven_id, ())
    latest = next((one for one in reversed(line) if one is not None), None)
    reports = await desk.reports(ven_id)
    return shell.page(
        "nodes/node.html",
        title=ven.name or ven_id,
        here="nodes",
        first=sentence(node, latest, shell.now),
        status=status,
        form=form,
        choose=choose,
        node=node,
        ven=ven,
        kinds=KINDS,
        line=spark(line),
        effect=verdict(await desk.last_effect(ven_id)),
        label=label,
        points=points,
        point=point,
        span=span,
        spans=[(name, text) for name, (text, _length) in SPANS.items()],
        chart_url=_address(asked, ven_id, "chart.json", point),
        csv_url=_address(asked, ven_id, "values.csv", point),
        certificate=shown(ven.certificate_der),
        following=shown(ven.next_certificate_der),
        reports=reports,
        clock=clock_sentence(await desk.written_before_s(ven_id)),
        opts=await desk.opts(ven_id),
        days=await desk.report_days(ven_id, limit=7),
        acts=await desk.acts_on(f"ven:{ven_id}"),
    )


def _address(asked: Asked, ven_id: str, name: str, point: Point | None) -> str:
    if point is None:
        return ""
    return asked.address(path_of("nodes", ven_id, name), r=point.r_id, facet=point.facet)


def sentence(node: Node, latest: float | None, now: datetime) -> str:
    """The first line of the page."""
    name = node.ven.name or node.ven.ven_id
    if node.state is NodeState.REVOKED:
        return f"{name} is shut out"
    if node.state is NodeState.EXPECTED:
        return f"{name} is let in, and has never registered"
    heard = f"last heard of {words.ago(node.contact_at, now)}"
    if latest is None:
        return f"{name} is {node.state}, {heard}; it has measured nothing of late"
    unit = words.unit_for(latest)
    return f"{name} is {node.state}, {heard}; it measures {words.power(latest, unit)} {unit}"


def clock_sentence(written_before_s: float | None) -> str:
    """What its reports tell of its clock; OpenADR has no field for that."""
    if written_before_s is None:
        return "not known: no report of it is kept"
    if written_before_s < -1:
        return f"ahead of ours by {words.span(-written_before_s)} at least"
    said = f"its last report was written {words.span(max(0.0, written_before_s))} before it came"
    return said + (", or its clock is behind" if written_before_s > 30 else "")


def label(point: Point) -> str:
    """As the point is called where one is chosen."""
    about = {
        "x-SUBMETER_USAGE": "sub-meter",
        "HISTORY_USAGE": "history",
        "x-CURTAILMENT": "curtailment",
    }.get(point.report_name, "")
    kind = _TYPES.get(point.report_type, point.report_type or point.report_name)
    return f"{point.r_id}: {', '.join(one for one in (about, kind, point.unit) if one)}"


def _chosen(points: list[Point], r_id: str, facet: str) -> Point | None:
    """What was asked for, else the measured power, else anything."""
    for one in points:
        if (one.r_id, one.facet) == (r_id, facet):
            return one
    power = (one for one in points if one.unit in ("W", "J/s") and not one.facet)
    usage = sorted(power, key=lambda one: one.report_name != "TELEMETRY_USAGE")
    return next(iter([*usage, *points]), None)


@get("/nodes/{ven_id:str}/chart.json", act=Act.VIEW)
async def chart(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Response[bytes]:
    asked = Asked(request)
    span = span_of(asked, shell.now, Form())
    try:
        found = await desk.chart(
            ven_id,
            asked.text("r"),
            span.starts_at,
            span.ends_at,
            facet=asked.text("facet"),
            width=_WIDTH,
        )
    except Unknown:
        if asked.text("r"):
            raise
        return _json(charts.payload([], [], unit="kW"))
    watts = found.point.unit in ("W", "J/s")
    lines = [charts.Line(name="measured", kind="measured", watts=found.values)]
    bands: list[tuple[int, int]] = []
    if found.low:
        lines[0] = charts.Line(name="mean of 15 min", kind="measured", watts=found.values)
        lines += [
            charts.Line(name="greatest", kind="ordered", watts=found.high),
            charts.Line(name="least", kind="ordered", watts=found.low),
        ]
        bands = [(1, 2)]
    return _json(
        charts.payload(
            found.at,
            lines,
            bands=bands,
            unit=None if watts else found.point.unit or "as told",
            empty="Nothing was measured in this time.",
        )
    )


def _json(payload: object) -> Response[bytes]:
    return Response(msgspec.json.encode(payload), media_type="application/json")


@get("/nodes/{ven_id:str}/values.csv", act=Act.VIEW)
async def values(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Stream:
    asked = Asked(request)
    span = span_of(asked, shell.now, Form())
    point = await desk.point(ven_id, asked.text("r"), facet=asked.text("facet"))
    rolled = span.ends_at - span.starts_at > LONGEST_RAW
    name = f"{file_name(ven_id, point.r_id)}-{stamp(span)}.csv"
    return csv_of(desk, [point], span, rolled=rolled, name=name)


handlers = [show_node, chart, values]
