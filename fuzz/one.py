# SPDX-License-Identifier: Apache-2.0
"""One target under atheris: `python -m fuzz.one TARGET CORPUS|INPUT [libFuzzer's options]`.

The modules of ours are instrumented as they are imported, so this is a process of its own.
"""

import logging
import shutil
import sys
from pathlib import Path

import atheris
import structlog

OURS = ["doorway", "oadr", "ems_bridge", "light_node", "ven", "vtn"]


def main() -> None:
    """See above."""
    _, name, place, *options = sys.argv
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with atheris.instrument_imports(include=OURS):
        from fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented as it is imported
    folder = Path("fuzz/out", name, "place")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target = TARGETS[name](folder)
    if Path(place).is_dir():
        for number, seed in enumerate(target.seeds):
            (Path(place) / f"own-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], place, *options], target.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
