# SPDX-License-Identifier: Apache-2.0
"""Which demandflex this is, by the name of its .dist-info folder.

importlib.metadata would say the same; it takes email, csv and zipfile along, 1.2 MB of memory.
"""

import sys
from pathlib import Path

_SUFFIX = ".dist-info"


def version() -> str:
    """The version of the installed distribution, as "0.1.0"; "unknown" where none is installed."""
    for folder in sys.path:
        for found in Path(folder).glob(f"demandflex-*{_SUFFIX}"):
            return found.name.removesuffix(_SUFFIX).partition("-")[2]
    return "unknown"
