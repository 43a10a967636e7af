import json
import logging
import subprocess
import sys

import pytest
import structlog

from doorway import configure_logs, get_logger
from doorway.logs import _Handed


@pytest.fixture
def logged(capsys):
    """Logs as a program would; gives back the lines written since."""
    yield lambda: capsys.readouterr().err
    structlog.reset_defaults()
    for handler in [one for one in logging.root.handlers if isinstance(one, _Handed)]:
        logging.root.removeHandler(handler)


def test_a_program_reads_one_line_of_json_for_each_thing_that_happened(logged):
    configure_logs(log_format="json")
    get_logger().info("registered", ven="mill", code=200, der=b"\0")

    line = json.loads(logged())
    at = line.pop("timestamp")
    wanted = {"event": "registered", "level": "info", "ven": "mill", "code": 200, "der": "AA=="}
    assert wanted == line
    assert at.endswith("Z")


def test_a_fault_in_the_log_names_its_place_and_no_local_variables(logged):
    configure_logs(log_format="json")
    token = "do not tell"
    try:
        int(token[:0])
    except ValueError:
        get_logger().exception("failed")

    said = logged()
    assert "ValueError" in said
    assert "test_logs.py" in said
    assert token not in said


def test_a_person_reads_text_without_colours_where_there_is_no_terminal(logged):
    configure_logs(log_format="text")
    get_logger().warning("vtn_unreachable", why="no route")

    said = logged()
    assert "vtn_unreachable" in said
    assert "\033" not in said


def test_what_libraries_log_comes_in_the_same_form(logged):
    configure_logs(log_format="json")
    configure_logs(log_format="json")
    logging.getLogger("aiohttp.server").error("Error handling %s", "a request")
    logging.getLogger("asyncio").info("of no interest")

    line = json.loads(logged())
    said = {"event": "Error handling a request", "level": "error", "logger": "aiohttp.server"}
    assert said == {key: line[key] for key in said}


def test_debug_is_logged_only_when_asked_for(logged):
    configure_logs(log_format="json")
    get_logger().debug("received")

    assert logged() == ""


def test_logging_does_not_load_rich():
    code = "import light_node.cli, sys; print([m for m in sys.modules if m.startswith('rich')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
