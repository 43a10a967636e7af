# SPDX-License-Identifier: Apache-2.0
"""vtn curtailment, report, measurements, audit: what came of it."""

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec

from doorway import Door, show, show_json
from vtn import export, records, screens
from vtn.cli.asking import FILE, asks, current_time, example
from vtn.errors import Invalid
from vtn.operator_client import OperatorClient
from vtn.orders import ReportOrder
from vtn.spoken_times import instant
from vtn.views import EventCurtailment, Measurements, Reports, Resolution

STRETCHES: Final[Mapping[Resolution, timedelta]] = {
    "raw": timedelta(days=1),
    "15min": timedelta(days=28),
}
"""What is fetched and written at a time: 21 600 values at 4 s, 2 688 quarter hours."""


@click.group(cls=Door, epilog=example("vtn curtailment show EVENT"))
def curtailment() -> None:
    """What events brought, recomputed from stored readings."""


@curtailment.command("show", epilog=example("vtn curtailment show EVENT --wait 120 --steps"))
@click.argument("event_id")
@click.option("--steps", is_flag=True, help="Every interval of every VEN, too.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=0,
    help="Wait up to so many seconds until the result is final.",
)
@asks
def curtailment_show(
    vtn: OperatorClient, *, event_id: str, steps: bool, wait_s: float, as_json: bool
) -> None:
    """Show what was ordered and delivered, per VEN and in sum.

    Each VEN's own claim is held against its readings; what does not agree is said.
    """
    until = time.monotonic() + wait_s
    while True:
        found = vtn.get("curtailments", event_id, into=EventCurtailment)
        if found.final or time.monotonic() >= until:
            break
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    show_json(found) if as_json else screens.curtailment(found, steps=steps)


@click.group(cls=Door, epilog=example("vtn report list hq"))
def report() -> None:
    """Reports: what VENs offer and are asked for."""


@report.command("list", epilog=example("vtn report list hq"))
@click.argument("ven_id")
@asks
def report_list(vtn: OperatorClient, *, ven_id: str, as_json: bool) -> None:
    """List what a VEN offers, and what was asked of it."""
    found = vtn.get("vens", ven_id, "reports", into=Reports)
    show_json(found) if as_json else screens.reports(found)


@report.command(
    "request",
    epilog=example(
        "vtn report request hq TELEMETRY_USAGE --rid P --granularity 4s --back 60s --duration 1h",
        "vtn report request hq METADATA",
    ),
)
@click.argument("ven_id")
@click.argument("specifier")
@click.option("--rid", "points", multiple=True, help="A point; repeatable.  [default: all offered]")
@click.option("--granularity", default="0s", show_default=True, help="How fine; 0s: on change.")
@click.option("--back", default="0s", show_default=True, help="How often; 0s: once, now.")
@click.option("--start", default="now", show_default=True, help="now, now+10m, ISO 8601 with Z.")
@click.option("--duration", default="open", show_default=True, help="For how long.")
@asks
def report_request(vtn: OperatorClient, *, ven_id: str, as_json: bool, **wanted: Any) -> None:
    """Ask a VEN for a report; SPECIFIER is one of `vtn report list`, or METADATA."""
    found = vtn.post("vens", ven_id, "reports", into=Reports, body=ReportOrder(**wanted))
    show_json(found) if as_json else screens.reports(found)


@report.command("cancel", epilog=example("vtn report cancel hq REQUEST --to-follow"))
@click.argument("ven_id")
@click.argument("report_request_id")
@click.option("--to-follow", is_flag=True, help="Ask for one final report.")
@asks
def report_cancel(
    vtn: OperatorClient, *, ven_id: str, report_request_id: str, to_follow: bool, as_json: bool
) -> None:
    """Ask a VEN to stop a report."""
    path = ("vens", ven_id, "reports", report_request_id, "cancel")
    found = vtn.post(*path, into=Reports, body={"to_follow": to_follow})
    show_json(found) if as_json else screens.reports(found)


@click.group(cls=Door, epilog=example("vtn measurements list hq"))
def measurements() -> None:
    """What VENs measured, as stored."""


@measurements.command("list", epilog=example("vtn measurements list hq"))
@click.argument("ven_id")
@asks
def measurements_list(vtn: OperatorClient, *, ven_id: str, as_json: bool) -> None:
    """List the stored series of a VEN."""
    found = vtn.every(
        "points",
        into=records.Point,
        key=lambda one: msgspec.json.encode((one.r_id, one.facet)).decode(),
        ven=ven_id,
    )
    show_json(found) if as_json else screens.points(found)


@measurements.command(
    "export",
    epilog=example(
        "vtn measurements export --ven hq --rid P --from now-1h --to now -o hq.csv",
        "vtn measurements export --ven hq --rid P --from 2026-11-01T00:00Z \\",
        "    --to 2026-12-01T00:00Z --format parquet -o november.parquet",
        "vtn measurements export --ven hq --rid P --from 2026-01-01T00:00Z \\",
        "    --to 2027-01-01T00:00Z --resolution 15min -o 2026.csv",
    ),
)
@click.option("--ven", required=True, help="Of this VEN.")
@click.option("--rid", required=True, help="This point; `vtn measurements list` names them.")
@click.option("--facet", default="", help="Of a status report: online, manualOverride ...")
@click.option("--from", "from_", required=True, help="ISO 8601 with Z, or now-1h.")
@click.option("--to", default="now", show_default=True, help="Up to here, exclusive.")
@click.option(
    "--resolution",
    type=click.Choice(get_args(Resolution)),
    default="raw",
    show_default=True,
    help="As measured, or rolled up to quarter hours.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(export.Format)),
    default="csv",
    show_default=True,
)
@click.option("-o", "--out", type=FILE, required=True, help="The file; replaced when it is there.")
@asks
def measurements_export(
    vtn: OperatorClient,
    *,
    ven: str,
    rid: str,
    facet: str,
    from_: str,
    to: str,
    resolution: Resolution,
    format_: export.Format,
    out: Path,
    as_json: bool,
) -> None:
    """Write a series to a file, whole or not at all."""
    now = current_time()
    starts_at = instant(from_, now=now, past=True, what="--from")
    ends_at = instant(to, now=now, past=True, what="--to")
    if ends_at <= starts_at:
        raise Invalid("--to: this is not after --from; give a later time.")

    gone = 0

    def parts() -> Iterator[Measurements]:
        nonlocal gone
        at = starts_at
        while at < ends_at:
            upto = min(at + STRETCHES[resolution], ends_at)
            part = vtn.get(
                "measurements",
                into=Measurements,
                ven=ven,
                rid=rid,
                facet=facet,
                from_=at.isoformat(),
                to=upto.isoformat(),
                resolution=resolution,
            )
            gone += part.without_samples
            yield part
            at = upto

    count = export.write(parts(), out, format_=format_)
    if as_json:
        show_json({"file": str(out), "values": count, "without_samples": gone})
        return
    show(f"wrote {count} values to {out}")
    if gone:
        show(
            f"of {gone} quarter hours only the rollups are left; they are not in the file: "
            "see --resolution 15min"
        )


@click.command(epilog=example("vtn audit --subject ven:hq", "vtn audit --actor operator:anna"))
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@click.option("--before", type=int, help="Older than the line with this number.")
@click.option("--actor", help="Of ven:ID, operator:NAME or system only.")
@click.option("--subject", help="About ven:ID, event:ID ... only.")
@asks
def audit(vtn: OperatorClient, *, as_json: bool, **wanted: Any) -> None:
    """What was accepted from whom, and every operator's act; newest first."""
    found = vtn.get("audit", into=list[records.AuditLine], **wanted)
    show_json(found) if as_json else screens.audit(found)
