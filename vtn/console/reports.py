# SPDX-License-Identifier: Apache-2.0
"""Reports: what each node offers, what was asked of it, and how much of that has come."""

from importlib.util import find_spec
from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect, Stream, Template

from vtn import orders
from vtn.accounts import Act
from vtn.console import words
from vtn.console.asked import Asked
from vtn.console.downloads import csv_of, file_name, parquet_of, stamp
from vtn.console.forms import Form
from vtn.console.nodes import KINDS
from vtn.console.shell import AnyRequest, Shell, ShellHere, path_of, status_of
from vtn.console.spans import SPANS, span_of
from vtn.desk import Desk
from vtn.desk.nodes import NodeOrder, NodeQuery
from vtn.desk.reports import ReportFigures
from vtn.desk.room import NodeState
from vtn.errors import Invalid, VtnError
from vtn.operations.needs import By, DeskHere, NowHere
from vtn.orders import ReportOrder
from vtn.quantities import unit_name
from vtn.services.report import METADATA

_SIZE: Final = 25
_FIELDS: Final = {
    "granularity": "granularity",
    "back": "back",
    "start": "start",
    "duration": "duration",
    "specifier": "specifier",
    "points": "points",
}
_PLACES: Final = (
    ("read every", "granularity"),
    ("granularity", "granularity"),
    ("needs a report interval", "duration"),
    ("rID", "points"),
)
_ROLLED_S: Final = 7 * 24 * 3600


@get("/reports", act=Act.VIEW)
async def list_reports(request: AnyRequest, shell: ShellHere, desk: DeskHere) -> Template:
    asked = Asked(request)
    found = await desk.find_nodes(
        NodeQuery(
            search=asked.text("q"),
            state=asked.one_of("state", NodeState),
            order=NodeOrder.VEN_ID,
            page=asked.page(),
            size=_SIZE,
        )
    )
    figures = await desk.report_figures([one.ven.ven_id for one in found.nodes])
    rows = [(one, figures[one.ven.ven_id]) for one in found.nodes]
    missing = sum(one.missing for one in figures.values())
    return shell.page(
        "reports/list.html",
        title="Reports",
        here="reports",
        first=f"{words.several(missing, 'interval')} missing at the nodes below"
        if missing
        else "Nothing is missing at the nodes below"
        if rows
        else "No node, no report",
        form=Form(asked.values()),
        found=found,
        rows=rows,
        kinds=KINDS,
        states=[("", "any state")] + [(one.value, one.value) for one in NodeState],
        before=asked.address(page=found.page - 1) if found.page > 1 else "",
        after=asked.address(page=found.page + 1) if found.page < found.pages else "",
    )


@get("/reports/{ven_id:str}", act=Act.VIEW)
async def show_reports(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Template:
    return await _page(ven_id, shell, desk, Form(Asked(request).values()))


async def _page(
    ven_id: str, shell: Shell, desk: Desk, form: Form, *, status: int = 200
) -> Template:
    reports = await desk.reports(ven_id)
    figures = ReportFigures.of(len(reports.offers), reports.requests)
    node = desk.node(ven_id)
    name = node.ven.name or ven_id
    return shell.page(
        "reports/node.html",
        title=f"Reports of {name}",
        here="reports",
        first=f"{name} sends {words.several(figures.active, 'report')}; "
        + (
            f"{words.several(figures.missing, 'interval')} missing"
            if figures.missing
            else "nothing is missing"
        ),
        status=status,
        form=form,
        node=node,
        reports=reports,
        points=await desk.points(ven_id),
        spans=[(name, text) for name, (text, _length) in SPANS.items()],
        parquet=find_spec("pyarrow") is not None,
        unit_of=unit_name,
    )


@post("/reports/{ven_id:str}", act=Act.REPORTS)
async def request_report(
    ven_id: FromPath[str], shell: ShellHere, desk: DeskHere, now: NowHere, by: By
) -> Template | Redirect:
    form = await shell.form()
    try:
        points = form.words("points")
        specifier = form.get("specifier")
        if not specifier:
            raise Invalid("specifier: choose one of the reports that the node offers.")
        offered = await _offered(desk, ven_id)
        if specifier not in offered:
            raise Invalid(f"specifier: {ven_id} offers no report '{specifier}'; choose another.")
        order = ReportOrder(
            specifier=specifier,
            points=points or offered[specifier],
            granularity=form.get("granularity") or "0s",
            back=form.get("back") or "0s",
            start=form.get("start") or "now",
            duration=form.get("duration") or "open",
        )
        await desk.request_report(ven_id, orders.report_request(order, now=now()), by=by)
    except VtnError as fault:
        form.refuse_at(str(fault), _PLACES, fields=_FIELDS)
        return await _page(ven_id, shell, desk, form, status=status_of(fault))
    said = f"{ven_id} is asked for {specifier} at its next poll."
    return shell.go(path_of("reports", ven_id), said=said)


async def _offered(desk: Desk, ven_id: str) -> dict[str, tuple[str, ...]]:
    """ReportSpecifierID -> the points of what may be asked for."""
    offers = (await desk.reports(ven_id)).offers
    found = {
        one.report.report_specifier_id: tuple(point.r_id for point in one.report.descriptions)
        for one in offers
    }
    return {METADATA: (), **found}


@post("/reports/{ven_id:str}/{report_request_id:str}/cancel", act=Act.REPORTS)
async def cancel_report(
    ven_id: FromPath[str],
    report_request_id: FromPath[str],
    shell: ShellHere,
    desk: DeskHere,
    by: By,
) -> Redirect:
    form = await shell.form()
    to = path_of("reports", ven_id)
    try:
        found = await desk.cancel_report(
            ven_id, report_request_id, to_follow=bool(form.get("to_follow")), by=by
        )
    except VtnError as fault:
        return shell.go(to, said=str(fault), bad=True)
    return shell.go(to, said=f"{ven_id} is told at its next poll to stop {found.report_name}.")


@get("/exports/{ven_id:str}", act=Act.VIEW)
async def export_values(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere
) -> Stream | Template:
    """Every point of a node over one span as one file; of more than a week quarter hours."""
    asked = Asked(request)
    form = Form(asked.values())
    span = span_of(asked, shell.now, form, otherwise="24h")
    parquet = asked.text("format") == "parquet"
    if form.is_refused or (parquet and find_spec("pyarrow") is None):
        if not form.is_refused:
            form.refuse("Parquet needs pyarrow here: pip install 'demandflex[parquet]'.")
        return await _page(ven_id, shell, desk, form, status=422)
    points = await desk.points(ven_id)
    if not points:
        form.refuse("There is nothing to export: the node has reported nothing.")
        return await _page(ven_id, shell, desk, form, status=422)
    rolled = (span.ends_at - span.starts_at).total_seconds() > _ROLLED_S
    name = f"{file_name(ven_id)}-{stamp(span)}"
    if parquet:
        return parquet_of(desk, points, span, rolled=rolled, name=f"{name}.parquet")
    return csv_of(desk, points, span, rolled=rolled, name=f"{name}.csv")


handlers = [list_reports, show_reports, request_report, cancel_report, export_values]
