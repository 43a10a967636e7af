"""Results as JSON, JUnit XML, PICS and side by side: made from what ran, and nothing else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from conformance import pics, report, side_by_side
from conformance.errors import SetUpFault
from conformance.outcome import Finding, Outcome, Result, run_of
from conformance.page import page


def result(name, outcome, *, rules=(15,), seen="", findings=()):
    return Result(
        name=name,
        title="a | title",
        rules=rules,
        outcome=outcome,
        seen=seen,
        findings=tuple(findings),
        duration_s=1.5,
    )


BROKEN = Finding(rule=29, seen="currentValue 0", wanted="1")
RESULTS = [
    result("A_E3_0510_TH_VEN", Outcome.PASSED, rules=(3, 15)),
    result("A_E3_0420_TH_VEN", Outcome.FAILED, rules=(13, 29), seen="odd", findings=[BROKEN]),
    result("E0_6020_TH_VEN", Outcome.NOT_RUN, rules=(104,), seen="push is not set up"),
]


def the_run(results=RESULTS, product="Some VTN"):
    return run_of(
        results, device="vtn", product=product, started_at="2030-01-09T14:00:00Z", scale=0.1
    )


def test_the_counts_are_those_of_the_tests():
    run = the_run()

    assert (run.passed, run.failed, run.not_run) == (1, 1, 1)


def test_json_reads_back_as_it_was():
    assert the_run() == report.from_json(report.to_json(the_run()))


def test_json_has_the_keys_that_others_read():
    plain = msgspec.json.decode(report.to_json(the_run()))

    assert {"passed", "failed", "not_run", "tests"} <= set(plain)
    assert {"name", "rules", "outcome", "seen"} <= set(plain["tests"][0])


def test_what_is_no_result_is_refused():
    with pytest.raises(SetUpFault, match="no result of a conformance run"):
        report.from_json(b'{"passed": 1}')


def test_junit_counts_failures_and_skips():
    suite = etree.fromstring(report.to_junit(the_run()))

    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert len(suite.findall("testcase/failure")) == 1
    assert len(suite.findall("testcase/skipped")) == 1


@given(st.text(max_size=40))
def test_junit_is_xml_whatever_a_device_has_sent(text):
    run = the_run([result("X", Outcome.FAILED, seen=text, findings=[BROKEN])])

    assert etree.fromstring(report.to_junit(run)) is not None


def test_the_pics_says_yes_only_where_a_test_passed_and_none_found_it_broken():
    rules = {one.item: one for one in pics.pics_of(the_run()).rules}

    assert rules["rule 15"].support == "yes"
    assert rules["rule 29"].support == "no"
    assert rules["rule 13"].support == "not shown"
    assert rules["rule 104"].support == "not shown"
    assert rules["rule 38"].support == "not visible"
    assert "rule 58" not in rules  # it lies on VENs


def test_a_check_that_failed_in_any_test_breaks_its_rule():
    odd = result("N1_0010_TH_VEN", Outcome.FAILED, rules=(404,), findings=[BROKEN])
    fine = result("A_E3_0420_TH_VEN", Outcome.PASSED, rules=(29,))
    rules = {one.item: one for one in pics.pics_of(the_run([odd, fine])).rules}

    assert rules["rule 29"].support == "no"
    assert rules["rule 29"].failed == ("N1_0010_TH_VEN",)


def test_a_service_that_was_not_run_says_why():
    services = {one.item: one for one in pics.pics_of(the_run()).services}

    assert services["EiEvent over HTTP push"].note == "not run: push is not set up"
    assert services["EiEvent over HTTP pull"].support == "no"


def test_the_pics_is_a_markdown_table_of_whole_rows():
    text = pics.to_markdown(pics.pics_of(the_run()))

    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 5


def test_two_runs_stand_side_by_side():
    text = side_by_side.compared([the_run(), the_run(RESULTS[:1], "Another")])

    assert "| test | Some VTN | Another |" in text
    assert "| A_E3_0420_TH_VEN a / title | **FAIL** | - |" in text
    assert "1 pass, 0 fail, 0 not run" in text


def test_the_page_has_a_run_with_and_without_signatures_side_by_side():
    again = [msgspec.structs.replace(one, name=one.name + report.SIGNED) for one in RESULTS]
    vtn = the_run([*RESULTS, *again], product="Ours")
    peer = the_run(product="Theirs")
    ven = msgspec.structs.replace(the_run([], product="A VEN"), device="ven")

    text = page(vtn, ven, peer, ven, "| 15 | broken |")

    assert "| Ours | 1 | 1 | 1 | 1 | 0.1 |" in text
    assert "| Ours, signed | 1 | 1 | 1 | 1 | 0.1 |" in text
    assert "| A_E3_0510_TH_VEN a / title | pass | pass | pass |" in text
    assert "- Ours, A_E3_0420_TH_VEN (signed): odd" in text
    assert "Theirs, A_E3_0420" not in text  # what a peer breaks stands in the comparison alone
    assert "| 15 | broken |" in text
    assert "XMPP" in text
