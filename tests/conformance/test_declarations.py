"""The tests as declared: names, rules, and that every rule is pinned or excused."""

import re

import pytest

from conformance import ven_tests, vtn_tests
from conformance.declaration import VEN_TESTS, VTN_TESTS, Ability, Transport, vtn_test
from conformance.errors import ConformanceFault, SetUpFault
from conformance.pics import checked, pinned
from conformance.rules import RULES, UNSEEN
from conformance.runner import chosen

ALL = [*VTN_TESTS.values(), *VEN_TESTS.values()]
assert vtn_tests
assert ven_tests


def test_all_numbered_rules_are_here():
    assert len(RULES) == 153


def test_every_rule_is_pinned_by_a_test_or_excused_with_a_reason():
    tests, checks = pinned(), checked()
    loose = [number for number in RULES if not tests[number] and number not in checks]

    assert [number for number in loose if not RULES[number].unseen] == []


def test_nothing_is_excused_that_a_test_pins():
    tests = pinned()

    assert [number for number in UNSEEN if tests[number]] == []


@pytest.mark.parametrize("test", ALL, ids=lambda test: test.name)
def test_each_test_names_its_rules_and_says_what_it_is(test):
    assert test.rules
    assert test.title
    assert re.fullmatch(r"([NEPRG][01]_\d{4}|A_E[0-3]_\d{4}|X_\w+)_TH_(VEN|VTN)", test.name)


def test_the_digit_in_a_certification_name_is_the_transport():
    for test in ALL:
        if test.name[0] in "NEPRG":
            assert (test.name[1] == "1") is (test.transport is Transport.PULL)


def test_no_name_is_given_twice():
    with pytest.raises(ConformanceFault, match="two tests named"):
        vtn_test(pull="N1_0010", title="again", rules=(1,))(lambda _bench: None)


def test_no_rule_is_made_up():
    with pytest.raises(ConformanceFault, match="rules that do not exist"):
        vtn_test(pull="N1_9999", title="odd", rules=(9999,))(lambda _bench: None)


CERTIFICATION = """
0010 0015 0020 0030 0040 0050 0060 0070 0080 1010 1020 1025 1027 1030 1040 1050 1060 1065 1080
2010 2015 2020 2030 2040 2050 3010 3020 3025 3027 3030 3040 3045 3050 3060 3070 3080 3090 3100
3120 3130 3140 3150 3160 3170 3180
"""


@pytest.mark.parametrize("number", CERTIFICATION.split())
def test_the_certification_tests_of_a_vtn_are_there_by_pull_and_push(number):
    letter = "NEPR"[int(number[0])]
    pull = f"{letter}1_{number}_TH_VEN"
    push = f"{letter}0_{int(number) + 5000}_TH_VEN"

    assert pull in VTN_TESTS
    assert push in VTN_TESTS


@pytest.mark.parametrize("number", CERTIFICATION.split())
def test_the_certification_tests_of_a_ven_are_there_by_pull_and_push(number):
    letter = "NEPR"[int(number[0])]

    assert f"{letter}1_{number}_TH_VTN" in VEN_TESTS
    assert f"{letter}0_{int(number) + 5000}_TH_VTN" in VEN_TESTS


def test_tests_are_chosen_by_the_beginning_of_their_names():
    names = [test.name for test in chosen(VTN_TESTS.values(), ["N1_001"])]

    assert names == ["N1_0010_TH_VEN", "N1_0015_TH_VEN"]


def test_a_name_that_fits_no_test_is_refused():
    with pytest.raises(SetUpFault, match="No test is named N7_"):
        chosen(VTN_TESTS.values(), ["N7_"])


def test_an_ability_reads_as_the_end_of_a_sentence():
    for ability in Ability:
        assert ability.value[0].islower()
        assert not ability.value.endswith(".")
