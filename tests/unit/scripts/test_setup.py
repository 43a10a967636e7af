import importlib.util
import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/setup as a module, looking at a project in a folder of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # scripts/ stays clean
    monkeypatch.delenv("PYTHON", raising=False)
    loader = SourceFileLoader("scripts_setup", str(ROOT / "scripts" / "setup"))
    spec = importlib.util.spec_from_loader("scripts_setup", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    venv = tmp_path / ".venv"
    (tmp_path / "requirements").mkdir()
    for kind in module.KINDS:
        (tmp_path / "requirements" / f"{kind}.txt").write_text("click==8 \\\n    --hash=x\n")
    (tmp_path / "pyproject.toml").write_text("")
    module.ROOT, module.VENV = tmp_path, venv
    module.PYTHON, module.STAMP = venv / "bin" / "python", venv / "stamp.json"
    return module


def stamp(setup: ModuleType, kind: str) -> None:
    setup.PYTHON.parent.mkdir(parents=True, exist_ok=True)
    setup.PYTHON.symlink_to(sys.executable)
    setup.STAMP.write_text(json.dumps({"kind": kind, "digest": setup.digest(kind), "python": "x"}))


def test_a_developers_environment_serves_the_demo_too_but_not_the_other_way(setup) -> None:
    assert not setup.is_current("run")
    stamp(setup, "dev")
    assert setup.is_current("run")
    assert setup.is_current("dev")

    setup.PYTHON.unlink()
    stamp(setup, "run")
    assert setup.is_current("run")
    assert not setup.is_current("dev")


def test_a_changed_lock_or_project_or_a_lost_python_calls_for_a_new_setup(setup) -> None:
    stamp(setup, "run")
    for path in (setup.lock_file("run"), setup.ROOT / "pyproject.toml"):
        before = path.read_text()
        path.write_text(before + "# new\n")
        assert not setup.is_current("run")
        path.write_text(before)
        assert setup.is_current("run")

    setup.PYTHON.unlink()
    assert not setup.is_current("run")


def test_a_torn_stamp_counts_as_none(setup) -> None:
    stamp(setup, "run")
    setup.STAMP.write_text('{"kind": "run"')
    assert not setup.is_current("run")


def test_a_folder_that_is_no_environment_is_left_alone(setup) -> None:
    setup.VENV.mkdir()
    (setup.VENV / "precious").touch()

    with pytest.raises(setup.SetupFailed, match="move it away"):
        setup.make_venv()
    assert (setup.VENV / "precious").exists()


def test_wrong_use_is_answered_with_the_usage() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "setup", "all"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, "usage: scripts/setup run|dev\n")
