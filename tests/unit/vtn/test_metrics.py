import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vtn.counts import SECONDS, Counts, Histogram
from vtn.metrics import MOST_VENS, _Collected, _counted, _vens

NOW = datetime(2030, 1, 9, 14, tzinfo=UTC)
GAUGES = {"process_cpu_seconds_total": 1.5, "db_pool_in_use reader": 2.0}


ROOT = Path(__file__).parents[3]
PROMQL = {"sum", "rate", "by", "le", "histogram_quantile", "delta", "ignoring", "and", "up"}
LABELS = {"job", "service", "code", "worker", "reason", "state"}


def documented():
    """The names in the table of docs/monitoring.md."""
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "monitoring.md").read_text().splitlines()
        if line.startswith("| `") and "/" not in line.split("|")[1]
    ]
    return {name for row in rows for name in re.findall(r"`([a-z_]{4,})", row) if "_" in name}


def expressions():
    """Every PromQL expression of monitoring/."""
    alerts = yaml.safe_load((ROOT / "monitoring" / "alerts.yml").read_text())
    for group in alerts["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads((ROOT / "monitoring" / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_dashboard_and_alerts_ask_for_nothing_but_what_is_documented():
    known = documented() | {"vens"} | PROMQL | LABELS
    for expression in expressions():
        asked = set(re.findall(r"\b[a-z][a-z_]+", re.sub(r'"[^"]*"|\[\w+\]', "", expression)))
        assert {name.removesuffix("_bucket") for name in asked} <= known, expression


def samples(families):
    text = generate_latest(_Collected(list(families))).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def worker(number, **took_s):
    counts = Counts()
    for service, seconds in took_s.items():
        counts.request(service, 200, seconds)
    return counts.tallied(worker=number, loop_lag=Histogram(SECONDS), gauges=GAUGES)


def test_each_worker_has_series_of_its_own_so_that_a_restart_is_no_decrease():
    found = samples(_counted([worker(1, OadrPoll=0.002), worker(2, OadrPoll=0.3, EiReport=0.3)]))

    def requests(number, service):
        labels = (("code", "200"), ("service", service), ("worker", number))
        return found.get(("oadr_requests_total", *labels))

    assert (
        requests("1", "OadrPoll"),
        requests("2", "OadrPoll"),
        requests("2", "EiReport"),
        requests("1", "EiReport"),
    ) == (1, 1, 1, None)
    assert found["db_pool_in_use", ("pool", "reader"), ("worker", "2")] == 2.0


def test_buckets_are_cumulative_and_end_with_all():
    found = samples(_counted([worker(0, OadrPoll=0.02)]))
    buckets = [
        found["oadr_request_seconds_bucket", ("le", le), ("service", "OadrPoll"), ("worker", "0")]
        for le in ("0.01", "0.025", "10", "+Inf")
    ]

    assert buckets == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("count", "labelled"), [(2, True), (MOST_VENS, True), (MOST_VENS + 1, False)]
)
def test_no_series_bears_a_ven_where_there_are_many(count, labelled):
    ven = SimpleNamespace(revoked_at=None, registered=True)
    entries = [
        SimpleNamespace(
            ven=SimpleNamespace(**vars(ven), ven_id=str(number)),
            last_contact_at=NOW - timedelta(seconds=7),
        )
        for number in range(count)
    ]
    vitals = SimpleNamespace(
        office=SimpleNamespace(directory=SimpleNamespace(entries=lambda: entries))
    )
    desk = SimpleNamespace(is_online=lambda _entry, _now: True)
    found = samples(_vens(desk, vitals, NOW))

    assert found["ven_online",] == count
    assert labelled == (found.get(("ven_last_seen_seconds", ("ven", "1"))) == 7.0)
