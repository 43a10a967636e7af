"""How many connections may be open, and which has to go."""

import resource
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtn.connections import Connections
from vtn.listener import room_for


@dataclass(eq=False)
class Line:
    certificate: str
    aborted: bool = False

    def abort(self):
        self.aborted = True


def full(*names, most=10, most_of_one=10):
    connections = Connections(most=most, most_of_one=most_of_one)
    lines = [Line(name) for name in names]
    assert all(connections.enter(line) for line in lines)
    return connections, lines


def test_one_too_many_costs_that_certificate_its_longest_idle_connection():
    connections, (a, b1, b2) = full("a", "b", "b", most_of_one=2)
    connections.busy(b1)
    connections.idle(b1)  # b2 has been silent for longer now

    assert connections.enter(Line("b"))
    assert [a.aborted, b1.aborted, b2.aborted] == [False, False, True]


def test_one_too_many_of_all_costs_the_longest_idle_of_all():
    connections, (a, b) = full("a", "b", most=2)
    connections.busy(a)

    assert connections.enter(Line("c"))
    assert [a.aborted, b.aborted] == [False, True]
    assert len(connections) == 2


def test_whoever_is_in_the_middle_of_a_request_stays_and_the_new_one_goes():
    connections, lines = full("a", "a", most=2)
    for line in lines:
        connections.busy(line)

    assert not connections.enter(Line("b"))
    assert not any(line.aborted for line in lines)


def test_leaving_twice_does_no_harm_and_an_answer_after_it_keeps_nobody():
    connections, (a,) = full("a")
    connections.busy(a)
    connections.leave(a)
    connections.leave(a)
    connections.idle(a)

    assert (len(connections), connections.of("a"), connections.every()) == (0, (), ())


@given(st.lists(st.tuples(st.sampled_from("ebil"), st.integers(0, 5)), max_size=40))
def test_there_are_never_more_than_may_be(acts):
    connections = Connections(most=4, most_of_one=2)
    lines = [Line("abc"[number % 3]) for number in range(6)]
    inside = set()
    for act, number in acts:
        line = lines[number]
        if act == "e" and line not in inside:
            if connections.enter(line):
                inside.add(line)
        elif act == "b" and line in inside:
            connections.busy(line)
        elif act == "i" and line in inside:
            connections.idle(line)
        elif act == "l":
            connections.leave(line)
            inside.discard(line)
        inside -= {one for one in inside if one.aborted}
        for one in lines:
            one.aborted = False

        assert set(connections.every()) == inside
        assert len(connections) <= 4
        for name in "abc":
            assert set(connections.of(name)) == {one for one in inside if one.certificate == name}
            assert len(connections.of(name)) <= 2


@pytest.mark.parametrize(
    ("limits", "forbidden", "room", "raised"),
    [
        ((1024, 4096), False, 3840, [(4096, 4096)]),
        ((1024, 100_000), False, 20_000, [(20_256, 100_000)]),
        ((1024, resource.RLIM_INFINITY), False, 20_000, [(20_256, resource.RLIM_INFINITY)]),
        ((65_536, 65_536), False, 20_000, []),
        ((1024, 4096), True, 768, []),
    ],
)
def test_there_is_room_for_as_many_as_the_system_lets_us_have(
    monkeypatch, limits, forbidden, room, raised
):
    asked = []

    def set_limit(_what, wanted):
        if forbidden:
            raise ValueError("not here")
        asked.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(resource, "setrlimit", set_limit)

    assert room_for(20_000) == room
    assert asked == raised
