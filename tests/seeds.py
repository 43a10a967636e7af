"""Valid inputs to begin fuzzing with: `python -m tests.seeds TARGET FOLDER`."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

import oadr
from ems_bridge.messages import encode
from oadr.vocabulary import ServiceName
from tests.strategies import MESSAGES
from tests.unit.ems_bridge import strategies as ems
from vtn.gateway import SERVICES

ROOT = Path(__file__).parent.parent
SERVICE_OF = {kind: service for service, kinds in SERVICES.items() for kind in kinds}
SETTINGS = ("systemd/vtn.toml.example", "systemd/ven.toml.example", "systemd/site.toml.example")
LINES = (
    b'{"type":"GetStatus","n":1}',
    b'{"type":"Watch","n":2}',
    b'{"type":"GetReadings","n":3,"after":0,"limit":10}',
    b'{"type":"GetSpan","n":4,"starts_at":"2030-01-09T14:00:00Z","ends_at":"2030-01-09T15:00:00Z"}',
    b'{"type":"PutPlan","n":5,"version":1,"steps":[]}',
    b'{"type":"GetCurtailment","n":6,"event_id":"e"}',
)


def drawn(strategy, count):
    found = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(value):
        found.append(value)

    take()
    return found


def messages():
    return [message for kind in MESSAGES.values() for message in drawn(kind, 4)]


def gateway():
    services = list(ServiceName)
    for message in messages():
        at = services.index(SERVICE_OF.get(type(message), ServiceName.POLL))
        yield bytes([at, 0]) + oadr.build(message)


SEEDS = {
    "parse": lambda: map(oadr.build, messages()),
    "gateway": gateway,
    "ems": lambda: map(encode, drawn(ems.messages, 60)),
    "local": lambda: LINES,
    "settings": lambda: (
        bytes([number]) + (ROOT / name).read_bytes() for number, name in enumerate(SETTINGS)
    ),
}


def main():
    _, target, folder = sys.argv
    for number, seed in enumerate(SEEDS.get(target, tuple)()):
        (Path(folder) / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
