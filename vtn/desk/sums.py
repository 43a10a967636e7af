# SPDX-License-Identifier: Apache-2.0
"""One series out of several."""

from array import array
from collections.abc import Collection, Sequence

from vtn.records import Point, RequestRecord, Series


def granularity_s(requests: Sequence[RequestRecord], report_name: str) -> float | None:
    """Of the latest request for a report of this name."""
    named = [one.request for one in requests if one.report_name == report_name]
    return named[-1].granularity.total_seconds() if named else None


def summed(ven_id: str, series: Sequence[Series]) -> Series:
    """One series: the sum of several where all of them have a value; the worst quality word."""
    if len(series) == 1:
        return series[0]
    point = Point(ven_id=ven_id, r_id=" + ".join(one.point.r_id for one in series), unit="W")
    if not series:
        return Series(point=point, starts_at=array("d"), values=array("d"), quality=())
    columns = [
        dict(zip(one.starts_at, zip(one.values, one.quality, strict=True), strict=True))
        for one in series
    ]
    shared = sorted(set[float]().union(*columns).intersection(*columns))
    return Series(
        point=point,
        starts_at=array("d", shared),
        values=array("d", [sum(column[at][0] for column in columns) for at in shared]),
        quality=tuple(_worst([column[at][1] for column in columns]) for at in shared),
    )


def _worst(words: Collection[str]) -> str:
    """The first word that is not good, else the first."""
    return next((one for one in words if one and "Good" not in one), next(iter(words)))
