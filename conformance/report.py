# SPDX-License-Identifier: Apache-2.0
"""A run as JSON and as JUnit XML."""

from pathlib import Path

import msgspec
from lxml import etree

from conformance.errors import SetUpFault
from conformance.outcome import Outcome, Run

SIGNED = " (signed)"
"""What the name of a test ends in that was tried with XML signatures."""


def to_json(run: Run) -> bytes:
    """The run as indented JSON: the counts and the list of tests."""
    return msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n"


def from_json(text: bytes) -> Run:
    """Read what `to_json` wrote. Raises SetUpFault for anything else."""
    try:
        return msgspec.json.decode(text, type=Run)
    except msgspec.MsgspecError as error:
        raise SetUpFault(f"This is no result of a conformance run: {error}.") from error


def to_junit(run: Run) -> bytes:
    """The run as JUnit XML, one testcase each, as build servers read it."""
    suite = etree.Element(
        "testsuite",
        name=f"OpenADR 2.0b {run.device}: {run.product}",
        tests=str(len(run.tests)),
        failures=str(run.failed),
        errors="0",
        skipped=str(run.not_run),
        timestamp=run.started_at,
        time=f"{sum(test.duration_s for test in run.tests):.2f}",
    )
    for test in run.tests:
        case = etree.SubElement(
            suite,
            "testcase",
            classname=f"openadr.{run.device}",
            name=f"{test.name} {test.title}",
            time=f"{test.duration_s:.2f}",
        )
        if test.outcome is Outcome.FAILED:
            failure = etree.SubElement(case, "failure", message=_plain(test.seen))
            failure.text = _plain(
                "\n".join(
                    f"rule {one.rule}: {one.seen}; wanted: {one.wanted}" for one in test.findings
                )
            )
        elif test.outcome is Outcome.NOT_RUN:
            etree.SubElement(case, "skipped", message=_plain(test.seen))
    written: bytes = etree.tostring(
        suite, xml_declaration=True, encoding="UTF-8", pretty_print=True
    )
    return written


def write(run: Run, folder: Path, stem: str) -> None:
    """`STEM.json` and `STEM.xml` in the folder, which is made. Raises SetUpFault."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.json").write_bytes(to_json(run))
        (folder / f"{stem}.xml").write_bytes(to_junit(run))
    except OSError as error:
        raise SetUpFault(f"{folder} cannot be written: {error.strerror}.") from error


def _plain(text: str) -> str:
    """Without the characters that XML cannot carry: a device may have sent any bytes."""
    return "".join(
        letter
        if letter in "\t\n" or " " <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd"
        else "?"
        for letter in text
    )
