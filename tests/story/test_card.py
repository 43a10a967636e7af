"""What the memory card has to bear: the kernel's own count of what a node in quiet times writes."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from light_node import ring as ring_room
from light_node.quality import Quality
from light_node.reading import Reading
from light_node.ring import Ring
from tests.unit.ven.makers import START
from tests.unit.ven.requests import status_request, usage_request
from ven.spool import Spool
from ven.state import InForce, State

MINUTES = 360
PER_MINUTE = 15


def bytes_written():
    """By this process, to disks: a page of 4 KiB counts each time it has to be written anew."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["write_bytes"]) - int(counts["cancelled_write_bytes"])


def minutes_of_readings(*, seed):
    """A building's meter at 4 s: power that wanders, a counter of 10 Wh, real delays."""
    chance = random.Random(seed)
    watts, energy_wh, seq, at = 100_000.0, 5_000_000.0, 0, 1_893_456_000.0
    while True:
        minute = []
        for _ in range(PER_MINUTE):
            watts += chance.uniform(-500, 500)
            energy_wh += watts * 4 / 3600
            minute.append(
                Reading(
                    meter="main",
                    seq=(seq := seq + 1),
                    k=int(at // 4),
                    starts_at=at,
                    quality=Quality.GOOD,
                    values={
                        "active_power": round(watts, 1),
                        "energy_import": energy_wh // 10 * 10,
                    },
                    start_error_s=chance.uniform(0.0005, 0.004),
                    took_s=chance.uniform(0.002, 0.01),
                )
            )
            at += 4
        yield minute


def test_a_quiet_day_of_one_meter_costs_the_card_less_than_20_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr(ring_room, "READINGS_KEPT_S", 2 * 3600)  # so that a full ring is purged
    ring = Ring(tmp_path / "ring.db", boot="b", interval_s=4.0)
    minutes = minutes_of_readings(seed=1)
    before = kept = 0
    for number in range(-180, MINUTES):
        if number == 0:
            before, kept = bytes_written(), ring.row_count
        minute = next(minutes)
        ring.commit(minute, now=minute[-1].starts_at + 4)
    written = bytes_written() - before
    files = {path.name for path in tmp_path.iterdir()}
    rows = ring.row_count
    ring.close()

    assert abs(rows - kept) <= 60 * PER_MINUTE, "as much is purged as comes in"
    assert "ring.db-shm" not in files, "a file in memory is written back, and counted nowhere here"
    if not written:
        pytest.skip("the folder lies in memory: nothing is written to any disk")
    assert written / MINUTES * 24 * 60 < 20e6


def test_how_far_a_quiet_day_s_reports_have_come_costs_the_card_less_than_3_megabytes(
    tmp_path, clock
):
    state = State.open(tmp_path / "ven.db", monotonic=clock.monotonic)
    usage = InForce(request=usage_request(), taken_at=START, spool=Spool(after=1))
    status = InForce(request=status_request(), taken_at=START)
    state.put_request(usage)
    state.put_request(status)
    before = bytes_written()
    for minute in range(MINUTES):
        spool = Spool(after=PER_MINUTE * minute)
        state.put_request(replace(usage, spool=spool, sent=minute), may_wait=True)
        state.put_request(replace(status, sent=minute), may_wait=True)
        index = os.open(tmp_path / "ven.db-shm", os.O_RDWR)
        os.fsync(index)  # as the kernel does within half a minute
        os.close(index)
        clock.advance(60)
    written = bytes_written() - before
    state.close()

    if not written:
        pytest.skip("the folder lies in memory: nothing is written to any disk")
    assert written / MINUTES * 24 * 60 < 3e6
