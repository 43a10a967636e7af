# SPDX-License-Identifier: Apache-2.0
"""Runs a Python program and writes down what its imports cost: imports.py FILE PROGRAM WORDS...

FILE gets the CPU seconds of all import statements, of whatever thread, up to the end. The outermost
one counts, with all that it brings along; looking up what is there already counts as well.
It is started as a script and imports next to nothing itself, so that nothing comes for free.
"""

import builtins
import sys
import time
from collections.abc import Mapping, Sequence
from threading import local
from types import ModuleType
from typing import Any


class _Depth(local):
    now = 0


class Imports:
    """Takes the place of `__import__`."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self._depth = _Depth()
        self._import = builtins.__import__

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as `__import__` has it
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - as `__import__` has it
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if self._depth.now:
            return self._import(name, globals, locals, fromlist, level)
        self._depth.now = 1
        began = time.thread_time()
        try:
            return self._import(name, globals, locals, fromlist, level)
        finally:
            self.cpu_s += time.thread_time() - began
            self._depth.now = 0


if __name__ == "__main__":
    found, program, *_ = sys.argv[1:]
    sys.argv = sys.argv[2:]
    sys.path.pop(0)  # the folder of this script
    with open(program) as file:  # noqa: PTH123 - pathlib would be imported for free
        code = compile(file.read(), program, "exec")
    imports = Imports()
    builtins.__import__ = imports  # type: ignore[assignment]  # names differ: object and Any
    try:
        exec(code, {"__name__": "__main__", "__file__": program})  # noqa: S102 - that is its task
    finally:
        with open(found, "w") as file:  # noqa: PTH123 - as above
            file.write(f"{imports.cpu_s:.6f}")
