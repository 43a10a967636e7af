"""The field wing's Debian package for this machine, built once a run."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def package(tmp_path_factory) -> Path:
    """Whichever worker comes first builds it; the others wait."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    out = folder / "packages"
    with (folder / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(out.glob("*.deb")):
            asked = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            words = ["--wing", "field", "--arch", "amd64", "--python", python.strip()]
            subprocess.run(
                [sys.executable, ROOT / "scripts" / "deb", *words, "--out", out],
                env={**os.environ, "DPKG_DEB_COMPRESSOR_LEVEL": "0"},  # 20 s less
                check=True,
            )
    (file,) = out.glob("*.deb")
    return file
