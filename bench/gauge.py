# SPDX-License-Identifier: Apache-2.0
"""What a process tree costs: its time on a CPU to the nanosecond, and its memory.

The time is read from the CPU clock of each process (clock_getcpuclockid of POSIX): the scheduler's
own account over all threads, ended ones too. It is what /proc/PID/task/*/schedstat sums up, and it
is there also on kernels without that file.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchFault

_CPUCLOCK_SCHED = 2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """The process and everything it started that still runs."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # a thread that has ended meanwhile
            continue
        for child in children:
            yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """Seconds on a CPU of the whole tree since it started. Raises BenchFault if it has ended."""
    try:
        return sum(time.clock_gettime(~one << 3 | _CPUCLOCK_SCHED) for one in tree(pid))
    except OSError as error:
        raise BenchFault(f"Process {pid} has ended; see its log.") from error


def coarse_cpu_s(pid: int) -> float:
    """The same from utime and stime of /proc/PID/stat, in ticks of 10 ms: a cross-check."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Resident memory of the whole tree; pages that processes share are counted in each."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total
