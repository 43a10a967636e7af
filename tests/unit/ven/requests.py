"""Report requests for the tests of the VEN."""

from datetime import timedelta

from oadr.report import ReportInterval, ReportRequest, SpecifierPayload
from tests.unit.ven.makers import START


def report_request(
    name, specifier_id, rids, *, back_s=60, granularity_s=4, length_s=0, start=START
):
    return ReportRequest(
        report_request_id=name,
        report_specifier_id=specifier_id,
        granularity=timedelta(seconds=granularity_s),
        report_back=timedelta(seconds=back_s),
        interval=(
            ReportInterval(starts_at=start, duration=timedelta(seconds=length_s))
            if back_s
            else None
        ),
        payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in rids),
    )


def usage_request(name="u", rids=("power",), **times):
    return report_request(name, "usage", rids, **times)


def status_request(name="s", **times):
    return report_request(name, "status", ("status",), **times)


def curtailment_request(name="c", **times):
    times = {"granularity_s": 60, **times}
    return report_request(name, "curtailment", ("baseline", "deviation"), **times)
