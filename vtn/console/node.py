# SPDX-License-Identifier: Apache-2.0
"""One node: what it measures, what it owes, its certificate, and what can be done about it."""

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Template

from vtn import export
from vtn.accounts import Act
from vtn.console import charts, words
from vtn.console.asked import Asked
from vtn.console.forms import Form
from vtn.console.nodes import KINDS, spark
from vtn.console.pem import der_of, shown
from vtn.console.shell import AnyRequest, Shell, ShellHere, path_of, status_of
from vtn.console.spans import SPANS, span_of
from vtn.desk import Desk
from vtn.desk.nodes import Node, NodeState
from vtn.errors import Invalid, Unknown, VtnError
from vtn.operations.needs import By, DeskHere
from vtn.records import Point
from vtn.views import Measurements

_WIDTH: Final = 1200
_MOST_ROWS: Final = 250_000
"""Of one CSV: eleven days at 4 s."""


@get("/nodes/{ven_id:str}", act=Act.VIEW)
async def show_node(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Template:
    return await _page(ven_id, Asked(request), shell, desk, Form())


async def _page(
    ven_id: str, asked: Asked, shell: Shell, desk: Desk, form: Form, *, status: int = 200
) -> Template:
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
        points=points,
        point=point,
        span=span,
        spans=[(name, text) for name, (text, _length) in SPANS.items()],
        chart_url=asked.address(path_of("nodes", ven_id, "chart.json"), r="", facet="")
        if point is None
        else asked.address(path_of("nodes", ven_id, "chart.json"), r=point.r_id, facet=point.facet),
        csv_url=""
        if point is None
        else asked.address(path_of("nodes", ven_id, "values.csv"), r=point.r_id, facet=point.facet),
        certificate=shown(ven.certificate_der),
        following=shown(ven.next_certificate_der),
        reports=reports,
        clock=clock_sentence(await desk.written_before_s(ven_id)),
        opts=await desk.opts(ven_id),
        days=await desk.report_days(ven_id, limit=7),
        acts=await desk.acts_on(f"ven:{ven_id}"),
    )


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
) -> Response[str]:
    asked = Asked(request)
    span = span_of(asked, shell.now, Form())
    r_id, facet = asked.text("r"), asked.text("facet")
    few = (span.ends_at - span.starts_at).total_seconds() / 4 <= _MOST_ROWS
    if few:
        series = await desk.measurements(ven_id, r_id, span.starts_at, span.ends_at, facet=facet)
        found = Measurements.of(series)
    else:
        found = Measurements.rolled(
            await desk.rollups(ven_id, r_id, span.starts_at, span.ends_at, facet=facet)
        )
    text = "".join((export.head(found.resolution), *export.csv_lines(found)))
    stamp = f"{span.starts_at:%Y%m%dT%H%M}Z-{span.ends_at:%Y%m%dT%H%M}Z"
    name = "".join(one if one.isalnum() or one in "-_" else "_" for one in f"{ven_id}-{r_id}")
    return Response(
        text,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}-{stamp}.csv"'},
    )


# --- acts -----------------------------------------------------------------------------------------


@post("/nodes/{ven_id:str}/revoke", act=Act.REVOKE)
async def revoke(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        if form.get("typed") != ven_id:
            raise Invalid(f"typed: type {ven_id} to shut it out.")
        await desk.revoke_ven(ven_id, by=by)
    except VtnError as fault:
        return await _refused(shell, desk, form, fault, ven_id=ven_id, request=request)
    return _done(shell, ven_id, f"{ven_id} is shut out; what it has sent stays.")


@post("/nodes/{ven_id:str}/deregister", act=Act.NODES)
async def deregister(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        if form.get("typed_end") != ven_id:
            raise Invalid(f"typed_end: type {ven_id} to end its registration.")
        await desk.cancel_registration(ven_id, by=by)
    except VtnError as fault:
        return await _refused(shell, desk, form, fault, ven_id=ven_id, request=request)
    return _done(shell, ven_id, f"{ven_id} is told at its next poll that its registration ends.")


@post("/nodes/{ven_id:str}/reregister", act=Act.NODES)
async def reregister(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        await desk.request_reregistration(ven_id, by=by)
    except VtnError as fault:
        return await _refused(shell, desk, form, fault, ven_id=ven_id, request=request)
    return _done(shell, ven_id, f"{ven_id} is asked to register again at its next poll.")


@post("/nodes/{ven_id:str}/resources", act=Act.NODES)
async def add_resource(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    resource_id = form.get("resource_id")
    try:
        await desk.add_resource(ven_id, resource_id, by=by)
    except Invalid as fault:
        form.refuse(f"resource_id: {fault}")
        return await _again(shell, desk, form, 422, ven_id=ven_id, request=request)
    return _done(shell, ven_id, f"{resource_id} is a resource of {ven_id} now.")


@post("/nodes/{ven_id:str}/certificate", act=Act.NODES)
async def replace_certificate(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        der, sha256 = der_of(form.get("certificate"), "certificate")
        if der is None:
            raise Invalid("certificate: paste the new certificate (PEM).")
        await desk.replace_certificate(
            ven_id, certificate_sha256=sha256, certificate_der=der, by=by
        )
    except VtnError as fault:
        sentence = str(fault)
        placed = sentence if sentence.startswith("certificate:") else f"certificate: {sentence}"
        form.refuse(placed)
        return await _again(shell, desk, form, status_of(fault), ven_id=ven_id, request=request)
    return _done(shell, ven_id, f"{ven_id} is let in with its new certificate only.")


async def _refused(
    shell: Shell, desk: Desk, form: Form, fault: VtnError, *, ven_id: str, request: AnyRequest
) -> Template:
    form.refuse(str(fault), fields={"typed": "typed", "typed_end": "typed_end"})
    return await _again(shell, desk, form, status_of(fault), ven_id=ven_id, request=request)


async def _again(
    shell: Shell, desk: Desk, form: Form, status: int, *, ven_id: str, request: AnyRequest
) -> Template:
    return await _page(ven_id, Asked(request), shell, desk, form, status=status)


def _done(shell: Shell, ven_id: str, said: str) -> Redirect:
    return shell.go(path_of("nodes", ven_id), said=said)


handlers = [
    show_node,
    chart,
    values,
    revoke,
    deregister,
    reregister,
    add_resource,
    replace_certificate,
]
