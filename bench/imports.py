# SPDX-License-Identifier: Apache-2.0
"""Runs a Python program and writes down what its imports cost: imports.py FILE PROGRAM WORDS...

FILE gets the CPU seconds of all imports, by statement or by importlib.import_module, of whatever
thread, up to the end. The outermost one counts, with all that it brings along; looking up what is
there already counts as well.
It is started as a script and imports next to nothing itself, so that nothing comes for free.
"""

import builtins
import importlib
import sys
import time
from collections.abc import Callable
from threading import local
from types import ModuleType


class _Depth(local):
    now = 0


class Imports:
    """What all ways to import have cost so far."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self._depth = _Depth()

    def counting(self, load: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        """A way to import, counted where nothing else imports around it."""

        def counted(*what: object, **more: object) -> ModuleType:
            if self._depth.now:
                return load(*what, **more)
            self._depth.now = 1
            began = time.thread_time()
            try:
                return load(*what, **more)
            finally:
                self.cpu_s += time.thread_time() - began
                self._depth.now = 0

        return counted


if __name__ == "__main__":
    found, program, *_ = sys.argv[1:]
    sys.argv = sys.argv[2:]
    sys.path.pop(0)  # the folder of this script
    with open(program) as file:  # noqa: PTH123 - pathlib would be imported for free
        code = compile(file.read(), program, "exec")
    imports = Imports()
    builtins.__import__ = imports.counting(builtins.__import__)
    importlib.import_module = imports.counting(importlib.import_module)
    try:
        exec(code, {"__name__": "__main__", "__file__": program})  # noqa: S102 - that is its task
    finally:
        with open(found, "w") as file:  # noqa: PTH123 - as above
            file.write(f"{imports.cpu_s:.6f}")
