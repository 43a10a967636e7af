"""What Prometheus' own tool says of the alert rules and of the dashboard's questions."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is missing: apt-get install prometheus, or make test.")
    return subprocess.run(
        [found, *map(str, words)],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_prometheus_takes_the_alert_rules() -> None:
    checked = promtool("check", "rules", "alerts.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alerts_go_off_when_they_should() -> None:
    tested = promtool("test", "rules", "alerts_test.yml")

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_an_alert_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    for name in ("alerts.yml", "alerts_test.yml"):
        text = (MONITORING / name).read_text()
        (tmp_path / name).write_text(text.replace("oadr_overload_total[5m])) > 1", "x[5m])) > 1"))

    assert promtool("test", "rules", tmp_path / "alerts_test.yml").returncode == 1


def test_prometheus_can_read_every_question_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) > 10
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )

    checked = promtool("check", "rules", tmp_path / "panels.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
