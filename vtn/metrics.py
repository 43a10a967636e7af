# SPDX-License-Identifier: Apache-2.0
"""What is counted and known, in Prometheus' text format.

The names are a promise: dashboards and alert rules are written in them (monitoring/).

No series bears a venID where there are more than MOST_VENS of them: the API tells of each VEN.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

from cryptography import x509
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from doorway import get_logger
from oadr.vocabulary import EventStatus
from vtn.counts import LAG_S, SECONDS, Tallied
from vtn.desk import Desk
from vtn.errors import StoreError
from vtn.figures import Figures
from vtn.store import events, outbox
from vtn.vitals import Vitals

log = get_logger()

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MOST_VENS: Final = 1000
ANSWER_S: Final = 4.0
"""How long a scrape waits for the database."""

_LIVE: Final = (EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE)
_WORKER_GAUGES: Final = {
    "requests_under_way": "Requests whose answer is not made yet.",
    "connections_open": "Open connections of VENs.",
    "process_resident_memory_bytes": "Resident memory.",
    "db_pool_in_use": "Database connections in use.",
    "db_pool_size": "Database connections there may be.",
}


async def exposition(vitals: Vitals, desk: Desk) -> bytes:
    """The whole page. What the database says is left out where that does not answer."""
    now = vitals.office.now()
    families = [
        *_counted(vitals.all_tallied()),
        *_vens(desk, vitals, now),
        *_files(vitals, now),
    ]
    try:
        async with asyncio.timeout(ANSWER_S):
            families += await _stored(vitals, now)
        up = 1
    except (StoreError, TimeoutError) as error:
        log.warning("metrics without the database", reason=str(error) or "no answer in time")
        up = 0
    families.append(_gauge("database_up", "Whether the database answered the scrape.", up))
    return generate_latest(_Collected(families))


class _Collected(Collector):
    """Families as prometheus_client wants to be given them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


# --- what the workers counted --------------------------------------------------------------------


def _counted(workers: Sequence[Tallied]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "oadr_requests_total",
        "Requests of VENs answered, by service and HTTP status.",
        labels=["worker", "service", "code"],
    )
    seconds = HistogramMetricFamily(
        "oadr_request_seconds",
        "From the end of a request's headers to its answer.",
        labels=["worker", "service"],
    )
    rejected = CounterMetricFamily(
        "oadr_rejected_total",
        "Messages answered with an OpenADR application error, by responseCode.",
        labels=["worker", "code"],
    )
    overloads = CounterMetricFamily(
        "oadr_overload_total",
        "Requests turned away by 503 because the VTN was behind, by reason.",
        labels=["worker", "reason"],
    )
    samples = CounterMetricFamily(
        "samples_ingested_total", "Readings of VENs stored.", labels=["worker"]
    )
    reports = CounterMetricFamily(
        "reports_ingested_total", "oadrUpdateReports stored.", labels=["worker"]
    )
    lag = HistogramMetricFamily(
        "report_lag_seconds",
        "How old the newest reading of a report was when it arrived.",
        labels=["worker"],
    )
    loop = HistogramMetricFamily(
        "loop_lag_seconds", "How late the event loop ticks.", labels=["worker"]
    )
    cpu = CounterMetricFamily(
        "process_cpu_seconds_total", "CPU time, user and system.", labels=["worker"]
    )
    for one in workers:
        worker = str(one.worker)
        for key, count in one.requests.items():
            service, _, code = key.rpartition(" ")
            requests.add_metric([worker, service or "none", code], count)
        for service, (counts, total) in one.seconds.items():
            seconds.add_metric([worker, service or "none"], _buckets(SECONDS, counts), total)
        for code, count in one.rejected.items():
            rejected.add_metric([worker, code], count)
        for reason, count in one.overloads.items():
            overloads.add_metric([worker, reason], count)
        samples.add_metric([worker], one.samples)
        reports.add_metric([worker], one.reports)
        lag.add_metric([worker], _buckets(LAG_S, one.lag[0]), one.lag[1])
        loop.add_metric([worker], _buckets(SECONDS, one.loop_lag[0]), one.loop_lag[1])
        cpu.add_metric([worker], one.gauges["process_cpu_seconds_total"])
    yield from (requests, seconds, rejected, overloads, samples, reports, lag, loop, cpu)
    yield from _worker_gauges(workers)


def _worker_gauges(workers: Sequence[Tallied]) -> Iterator[Metric]:
    for name, what in _WORKER_GAUGES.items():
        labels = ["worker", "pool"] if name.startswith("db_pool") else ["worker"]
        family = GaugeMetricFamily(name, what, labels=labels)
        for one in workers:
            for key, value in one.gauges.items():
                first, *more = key.split(" ")
                if first == name:
                    family.add_metric([str(one.worker), *more], value)
        yield family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


# --- what is so now ------------------------------------------------------------------------------


def _vens(desk: Desk, vitals: Vitals, now: datetime) -> Iterator[Metric]:
    states = {"expected": 0, "registered": 0, "revoked": 0}
    online = 0
    seen = GaugeMetricFamily(
        "ven_last_seen_seconds",
        f"Since a registered VEN was heard of; only with {MOST_VENS} VENs at most.",
        labels=["ven"],
    )
    entries = list(vitals.office.directory.entries())
    for entry in entries:
        ven = entry.ven
        revoked = ven.revoked_at is not None
        states["revoked" if revoked else "registered" if ven.registered else "expected"] += 1
        if revoked or not ven.registered:
            continue
        online += desk.is_online(entry, now)
        if len(entries) <= MOST_VENS and entry.last_contact_at is not None:
            seen.add_metric([ven.ven_id], (now - entry.last_contact_at).total_seconds())
    yield _by_label("vens", "VENs, by state.", "state", states)
    yield _gauge(
        "ven_online", "Registered VENs heard of within three of their poll intervals.", online
    )
    yield seen


def _files(vitals: Vitals, now: datetime) -> Iterator[Metric]:
    own = {}
    for chain in vitals.office.settings.openadr.certificates:
        try:
            certificate = x509.load_pem_x509_certificate(chain.cert.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("a certificate cannot be read", file=str(chain.cert), reason=str(error))
            continue
        own[chain.cert.name] = (certificate.not_valid_after_utc - now).total_seconds()
    yield _by_label(
        "cert_expiry_seconds", "Until a certificate of the VTN ends.", "certificate", own
    )
    disk = vitals.disk()
    if disk is not None:
        yield _gauge("database_disk_free_bytes", "Room on the disk of the database.", disk.free)
    due = vitals.listener.revocations_due_at() if vitals.listener is not None else {}
    yield _by_label(
        "crl_next_update_seconds",
        "Until a revocation list is overdue.",
        "file",
        {file: (at - now).total_seconds() for file, at in due.items() if at is not None},
    )


async def _stored(vitals: Vitals, now: datetime) -> list[Metric]:
    """Raises StoreUnavailable."""
    async with vitals.office.store.read() as connection:
        statuses = await events.live_statuses(connection, now)
        waiting = await outbox.count(connection)
    by_state = {state.value: statuses.count(state) for state in _LIVE}
    figures = await vitals.figures.get()
    return [
        _by_label("event_state", "Events that are not over, by state.", "state", by_state),
        _gauge("messages_waiting", "Messages that VENs have not answered yet.", waiting),
        *(_figures(figures, now) if figures is not None else ()),
    ]


def _figures(figures: Figures, now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "samples_missing",
        "Readings that were asked for, are due and have not come; late ones still may.",
        figures.samples_missing,
    )
    if figures.asked:
        yield _gauge(
            "optin_ratio",
            "Of the VENs that running events are for, the share that opted in.",
            figures.opted_in / figures.asked,
        )
    yield _gauge("ordered_kw", "Reduction ordered by running events now.", figures.ordered_w / 1e3)
    yield _gauge("delivered_kw", "Reduction that the nodes report now.", figures.delivered_w / 1e3)
    if figures.ven_certificate_ends_at is not None:
        yield _gauge(
            "ven_cert_expiry_seconds",
            "Until the first certificate of a VEN ends.",
            (figures.ven_certificate_ends_at - now).total_seconds(),
        )


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _by_label(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
