"""The table: when a goal is met, and how a figure is shown."""

import dataclasses

from bench.ratios import Row, Rows, at_least, at_most, markdown, over, shown

MET = Row(
    goal=1,
    what="idle poll",
    unit="CPU us",
    ours=50.0,
    peer=210.0,
    ratio=4.2,
    target=at_least(4.0),
)


def test_a_goal_is_met_on_its_own_side_of_the_target() -> None:
    assert MET.met
    assert not dataclasses.replace(MET, target=at_least(4.3)).met
    assert not dataclasses.replace(MET, target=at_most(4.1)).met
    assert dataclasses.replace(MET, target=at_most(4.2)).met


def test_where_the_figure_itself_is_the_goal_the_ratio_says_nothing() -> None:
    row = dataclasses.replace(MET, ours=250_000.0, target=at_least(200_000, of="ours"))

    assert row.met
    assert not dataclasses.replace(row, ours=150_000.0).met


def test_a_figure_that_is_not_there_meets_nothing() -> None:
    assert not dataclasses.replace(MET, ratio=None).met
    assert not dataclasses.replace(MET, ours=None, target=at_most(6, of="ours")).met


def test_what_has_no_target_stands_beside_the_goals() -> None:
    beside = dataclasses.replace(MET, target=None)
    rows = Rows([MET, beside, dataclasses.replace(MET, ratio=1.0)])

    assert rows.also == [beside]
    assert rows.missed == [rows.every[2]]
    assert "target" not in beside.plain()


def test_the_result_holds_the_names_that_others_read() -> None:
    assert MET.plain() == {
        "goal": 1,
        "what": "idle poll",
        "unit": "CPU us",
        "ours": 50.0,
        "peer": 210.0,
        "peer_name": "openleadr",
        "ratio": 4.2,
        "target": ">= 4",
        "met": True,
    }


def test_the_table_of_the_docs_shows_what_is_missed_and_what_is_not_there() -> None:
    missed = dataclasses.replace(MET, ours=900.0, peer=None, ratio=None)
    alone = dataclasses.replace(missed, peer_name="", target=at_most(1000, of="ours"))

    lines = markdown([MET, missed, alone]).splitlines()

    assert lines[2] == "| 1 | idle poll (CPU us) | 50.0 | 210 (openleadr) | 4.20 | >= 4 | yes |"
    assert lines[3] == "| 1 | idle poll (CPU us) | 900 | none (openleadr) | none | >= 4 | **no** |"
    assert lines[4] == "| 1 | idle poll (CPU us) | 900 |  |  | <= 1,000 | yes |"


def test_three_digits_are_shown() -> None:
    assert [shown(figure) for figure in (14212.3, 99.94, 2.268, 0.0414, None)] == [
        *("14,212", "99.9", "2.27", "0.041", "none")
    ]


def test_there_is_no_ratio_to_nothing() -> None:
    assert over(1.0, None) is None
    assert over(1.0, 0.0) is None
    assert over(3.0, 2.0) == 1.5
