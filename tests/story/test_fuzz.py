"""`make fuzz` begins from valid inputs: every target takes them, and knows a fault from none."""

import random

import pytest

from fuzz.targets import TARGETS
from fuzz.words import TARGETS as NAMES
from fuzz.words import words_of
from oadr.errors import Malformed
from tests.seeds import SEEDS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_what_becomes_of_them(name, tmp_path):
    target = TARGETS[name](tmp_path)
    seeds = [*target.seeds, *SEEDS.get(name, tuple)()]
    assert seeds
    chance = random.Random(7)
    words = [word.encode() for word in words_of(name)]
    try:
        for seed in seeds[:120]:
            target.take(seed)
            altered = bytearray(seed)
            at = chance.randrange(1, len(altered))
            altered[at : at + chance.randrange(9)] = chance.choice(words)
            target.take(bytes(altered))
        for rubbish in (b"", b"\0", b"\0\0", b"\xff" * 300, b"\1\1" + b"[" * 9000):
            target.take(rubbish)
    finally:
        target.close()


def test_the_runner_knows_every_target():
    assert set(NAMES) == set(TARGETS)


def test_a_target_raises_what_is_a_finding(monkeypatch, tmp_path):
    seed = next(iter(SEEDS["parse"]()))
    monkeypatch.setattr("oadr.build", lambda message: b"no payload")

    with pytest.raises(Malformed):
        TARGETS["parse"](tmp_path).take(seed)
