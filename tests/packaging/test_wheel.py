"""The VTN out of its wheel, in a virtual environment of its own: what a utility installs."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from chaos.program import Program, last_words, wait_for
from demo.ports import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.timeout(900)  # what it needs comes from the network the first time


def run(*words, cwd=ROOT):
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    run(BIN / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", out)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    """Of an environment with what the lock names, and the wheel."""
    home = tmp_path_factory.mktemp("opt") / "demandflex"
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, home)
    pip = (BIN / "uv", "pip", "install", "--quiet", "--python", home / "bin" / "python")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "utility.txt")
    run(*pip, "--no-deps", wheel)
    return home / "bin"


def test_the_wheel_holds_every_file_of_its_packages_and_nothing_else(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}

    assert set(run("git", "ls-files", *packages).splitlines()) <= names
    assert {name.partition("/")[0] for name in names} == set(packages)


def test_a_vtn_out_of_its_wheel_makes_its_database_and_serves_its_console(bin_folder, tmp_path):
    def here(*words):
        return run(bin_folder / words[0], *words[1:], cwd=tmp_path)

    here("certs", "init", "--out", "pki")
    here("certs", "vtn", "--dir", "pki", "--host", "127.0.0.1")
    made = here("vtn", "init")
    assert "made the database" in made
    settings = tmp_path / "vtn.toml"
    openadr, operator = free_port(), free_port()
    ports = {"8443": str(openadr), "8444": str(operator)}
    settings.write_text(re.sub("844[34]", lambda found: ports[found[0]], settings.read_text()))
    here("vtn", "check")
    vtn = Program("vtn", [str(bin_folder / "vtn"), "serve"], tmp_path)
    vtn.prefix = ["env", "--chdir", str(tmp_path)]
    vtn.start()
    try:

        def page(path):
            words = ("curl", "--silent", "--show-error", "--fail", "--location")
            return run(*words, f"http://127.0.0.1:{operator}{path}")

        def listens():
            assert vtn.alive, last_words(tmp_path)
            return "listening" in vtn.log.read_text()

        wait_for("it listens", listens, within_s=180, words=lambda: last_words(tmp_path))
        page("/healthz")
        login = page("/")
        assert '<form method="post"' in login
        linked = re.findall(r'(?:src|href)="(/static/[^"]+)"', login)
        assert linked
        assert all(page(each) for each in linked)
    finally:
        vtn.stop()
