# SPDX-License-Identifier: Apache-2.0
"""What a disk may hold after a power cut: worked out from the writes and syncs of a program.

A program runs under strace. What it wrote and synced is on the disk; of what it wrote since, any
part may be: none, all, some of the writes in any order, and of each any of its sectors. A file that
was made and never synced may be missing; one that was removed may still be there.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
"""What a card writes whole or not at all, bytes."""
TRACED = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink"
_LONGEST = 1024 * 1024

_THREAD = re.compile(r"^(?P<thread>\d+) +(?P<call>.*)$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<rest>.*)\)\s+= (?P<result>-?\d+)")
_PATH = re.compile(r"^\d+<(?P<path>(?:\\x[0-9a-f]{2})*)>")
_BYTES = re.compile(r'"(?P<bytes>(?:\\x[0-9a-f]{2})*)"')
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One call that matters. `at` is an offset, for "cut" a new length."""

    kind: str
    """open, write, cut, sync, remove."""
    path: str
    at: int = 0
    written: bytes = b""


def strace(trace: Path, *, threads: bool = False) -> list[str]:
    """The words before a command line that have its disk work written to `trace`.

    With `threads` that of all its threads; else of the first alone, which is quicker.
    """
    return [
        *("strace", *["-f"] * threads, "-o", str(trace), "-y", "-xx", "-s", str(_LONGEST)),
        *("-e", f"trace={TRACED}", "-e", "signal=none"),
    ]


def acts(trace: Path) -> Iterator[Act]:
    """What a trace tells, in its order."""
    with trace.open(encoding="ascii", errors="replace") as lines:
        for line in _whole(lines):
            call = _CALL.match(line)
            if call is not None and int(call["result"]) >= 0:
                act = _act(call["name"], call["rest"])
                if act is not None:
                    yield act


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Calls as they end: strace tells one in two parts when another thread calls in between."""
    begun: dict[str, str] = {}
    for line in lines:
        told = _THREAD.match(line)
        if told is None:
            yield line
            continue
        thread, call = told["thread"], told["call"].rstrip("\n")
        if call.endswith(_UNFINISHED):
            begun[thread] = call.removesuffix(_UNFINISHED)
            continue
        resumed = _RESUMED.match(call)
        yield call if resumed is None else begun.pop(thread, "") + call[resumed.end() :]


def _act(name: str, rest: str) -> Act | None:
    if name in {"openat", "unlink"}:
        named = _BYTES.search(rest)
        if named is None or (name == "openat" and "O_CREAT" not in rest):
            return None
        kind = "open" if name == "openat" else "remove"
        return Act(kind=kind, path=_unquoted(named["bytes"]).decode())
    file = _PATH.match(rest)
    if file is None:
        return None
    path = _unquoted(file["path"]).decode()
    if name in {"fsync", "fdatasync"}:
        return Act(kind="sync", path=path)
    if name == "ftruncate":
        return Act(kind="cut", path=path, at=int(_NUMBERS.findall(rest)[-1]))
    written = _BYTES.search(rest)
    assert written is not None, f"strace has cut a line short: {rest[:200]}"
    at = int(_NUMBERS.findall(rest)[-1]) if name == "pwrite64" else 0
    return Act(kind="write", path=path, at=at, written=_unquoted(written["bytes"]))


def _unquoted(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Act] = field(default_factory=list)
    is_sure: bool = False
    """Whether its name is on the disk."""
    is_removed: bool = False


class Disk:
    """The files below one folder, as they may be found after the power has gone."""

    def __init__(self, folder: Path) -> None:
        self._below = str(folder) + "/"
        self._files: dict[str, _File] = {}

    def take(self, act: Act) -> None:
        """Go on by one act."""
        if not act.path.startswith(self._below):
            if act.kind == "sync" and act.path + "/" == self._below:
                self._sync_names()
            return
        name = act.path.removeprefix(self._below)
        file = self._files.setdefault(name, _File())
        match act.kind:
            case "open" if file.is_removed:
                self._files[name] = _File()
            case "remove":
                file.is_removed = True
            case "write" | "cut":
                file.pending.append(act)
            case "sync":
                for one in file.pending:
                    _apply(file.synced, one, range(len(one.written)))
                file.pending.clear()
                file.is_sure = True

    def _sync_names(self) -> None:
        for name, file in [*self._files.items()]:
            file.is_sure = True
            if file.is_removed:
                del self._files[name]

    def cut_off(self, folder: Path, chance: random.Random) -> None:
        """Write into an empty folder what one power cut at this moment may leave behind."""
        for name, file in self._files.items():
            unsure = not file.is_sure or file.is_removed
            if unsure and chance.random() < 0.5:
                continue
            found = bytearray(file.synced)
            for act in _survivors(file.pending, chance):
                _apply(found, act, _sectors(act, chance))
            (folder / name).write_bytes(found)


def _survivors(pending: Sequence[Act], chance: random.Random) -> Sequence[Act]:
    match chance.randrange(4):
        case 0:
            return ()
        case 1:
            return pending
        case 2:
            return pending[: chance.randrange(len(pending) + 1)]
        case _:
            return [act for act in pending if chance.random() < 0.5]


def _sectors(act: Act, chance: random.Random) -> Sequence[int] | range:
    """Which bytes of a write have arrived: mostly all, now and then only some sectors."""
    size = len(act.written)
    if chance.random() < 0.8:
        return range(size)
    return [
        byte
        for start in range(0, size, SECTOR)
        if chance.random() < 0.5
        for byte in range(start, min(start + SECTOR, size))
    ]


def _apply(found: bytearray, act: Act, arrived: Sequence[int] | range) -> None:
    if act.kind == "cut":
        del found[act.at :]
        found.extend(bytes(act.at - len(found)))
        return
    end = act.at + len(act.written)
    found.extend(bytes(max(0, end - len(found))))
    if isinstance(arrived, range):
        found[act.at : end] = act.written
        return
    for byte in arrived:
        found[act.at + byte] = act.written[byte]
