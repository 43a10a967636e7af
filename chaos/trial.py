# SPDX-License-Identifier: Apache-2.0
"""What a trial is: a fault, how often it strikes, and the bench it is run on."""

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.postgres import PostgresCluster
from chaos.verdict import Outcome
from demo.ports import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where one trial runs, and how it says how far it is."""

    name: str
    seed: int
    scale: float = 1.0
    """The share of its usual runs; 1 is the whole trial."""
    folder: Path
    """Empty, its own, gone when the trial has held."""
    say: Callable[[int, int], None] = lambda _done, _of: None
    """Progress: how many of how many."""
    chance: random.Random = field(init=False, repr=False)
    """Seeded by the seed and the name."""

    def __post_init__(self) -> None:
        drawn = random.Random(f"{self.seed} {self.name}")  # noqa: S311 - moments, not secrets
        object.__setattr__(self, "chance", drawn)

    def times(self, usual: int) -> int:
        """How often to strike: the usual number, scaled, at least once."""
        return max(1, round(usual * self.scale))

    @contextlib.contextmanager
    def postgres(self) -> Iterator[PostgresCluster]:
        """A PostgreSQL of its own that keeps what it has committed, whatever happens to it."""
        cluster = PostgresCluster(free_port(), durable=True)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One line of the fault table."""

    name: str
    """As --only names it."""
    what: str
    """For the list: the fault, and what must hold."""
    run: Callable[[Bench], Outcome]
    budget_s: float
    """After this it is ended, and has not held."""
    usual_s: float
    """About how long it takes; long ones start first."""
    busy: bool = False
    """Whether it keeps a processor busy; of those one runs at a time."""
    alone: bool = False
    """Whether nothing else may run beside it."""


@contextlib.contextmanager
def scratch(*, keep: Callable[[], bool]) -> Iterator[Path]:
    """A folder with a short path (Unix sockets allow some 100 characters), kept if `keep` says."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        if not keep():
            shutil.rmtree(folder, ignore_errors=True)
