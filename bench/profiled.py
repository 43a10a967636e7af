# SPDX-License-Identifier: Apache-2.0
"""python -m bench.profiled OUT serve --config vtn.toml: our VTN, sampled while it serves.

At every millisecond of CPU time, as long as the load lasts (MEASURING of bench.servers), the time
that each thread has used since is put down to the functions it is in. OUT says, when the VTN ends,
which functions the time was spent in, by themselves and with all they called. What C code does is
put down to the Python function that called it, and the event loop's own work, TLS included, to the
function that comes next or to Runner.run; a share below some percent says nothing.
"""

import atexit
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from bench.servers import MEASURING
from vtn.cli import main

EVERY_S = 0.001
SHOWN = 45


class Sampler:
    """Counts from the signal of a timer of CPU time; in the main thread."""

    def __init__(self, mark: Path) -> None:
        """Samples count while the file `mark` is there."""
        self._mark = mark
        self._before_ns: dict[int, int] = {}
        self._main = threading.main_thread().ident
        self.alone: Counter[str] = Counter()
        self.within: Counter[str] = Counter()

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """The handler of SIGPROF."""
        counts = self._mark.exists()
        for thread, its in sys._current_frames().items():  # noqa: SLF001 - a profiler's way
            try:
                now_ns = time.clock_gettime_ns(time.pthread_getcpuclockid(thread))
            except OSError:  # it has ended meanwhile
                continue
            spent_ns = now_ns - self._before_ns.get(thread, now_ns)
            self._before_ns[thread] = now_ns
            if counts and spent_ns > 0:
                self._put_down(frame if thread == self._main else its, spent_ns)

    def _put_down(self, frame: FrameType | None, spent_ns: int) -> None:
        names = []
        while frame is not None:
            names.append(_name(frame))
            frame = frame.f_back
        self.alone[names[0]] += spent_ns
        for name in set(names):
            self.within[name] += spent_ns

    def report(self) -> str:
        """Shares of all CPU time seen."""
        total_ns = max(1, sum(self.alone.values()))
        lines = [f"{total_ns / 1e9:.1f} s of CPU time"]
        for heading, counter in (("by itself", self.alone), ("with all it called", self.within)):
            lines.append(f"\n{heading}")
            lines += [
                f"{spent_ns / total_ns:6.1%}  {name}"
                for name, spent_ns in counter.most_common(SHOWN)
            ]
        return "\n".join(lines) + "\n"


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_firstlineno} {code.co_qualname}"


if __name__ == "__main__":
    out = Path(sys.argv.pop(1))
    sampler = Sampler(out.with_suffix(MEASURING))
    atexit.register(lambda: out.write_text(sampler.report()))
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    main(prog_name="vtn")
