# SPDX-License-Identifier: Apache-2.0
"""Whether the machine's clock is known to be right.

A Raspberry Pi has no clock of its own: after a power cut it wakes up in the past. What sets it
(systemd-timesyncd, or a chrony hook) leaves a file behind once it has; until then the clock is a
guess. The units are not allowed to ask the kernel (ProtectClock), hence the file.
"""

from collections.abc import Callable
from pathlib import Path

TIMESYNCD_FILE = Path("/run/systemd/timesync/synchronized")
"""What systemd-timesyncd makes."""


def clock_check(file: Path | None) -> Callable[[], bool]:
    """A question to ask at any time; without a file the clock is always believed."""
    return file.exists if file is not None else _believed


def _believed() -> bool:
    return True
