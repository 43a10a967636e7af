"""What is free in the heap goes back to the system, though what is still used lies in between."""

import ctypes
from pathlib import Path

import pytest

from vtn.heap import give_back


def resident_mib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss:"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc's alone")
def test_pages_in_which_nothing_is_used_are_given_back():
    blocks = [bytes(16_384) for _ in range(1_000)]
    still_used = blocks[::100]
    before = resident_mib()
    del blocks
    give_back()

    assert before - resident_mib() > 8
    assert len(still_used) == 10
