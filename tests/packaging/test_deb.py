"""The Debian package of the field wing: built, judged by lintian, installed, run and removed.

It is installed in a copy-on-write picture of this machine, which is gone afterwards. That needs
root: without it the test says so and fails. Packages of other processors and Pythons are built by
`make deb` alone; what it would refuse to put into them is tried here.
"""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.picture import Picture

pytestmark = pytest.mark.timeout(900)  # building it takes what the network takes


@pytest.mark.parametrize(
    ("arch", "python", "fits"),
    [("arm64", "3.13", True), ("amd64", "3.13", False), ("arm64", "3.11", False)],
)
def test_a_library_of_another_processor_or_python_is_not_packed(tmp_path, arch, python, fits):
    deb = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "deb"))
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + b"\xb7\x00"
    (tmp_path / "etree.cpython-313-aarch64-linux-gnu.so").write_bytes(elf)
    (tmp_path / "rust.abi3.so").write_bytes(elf)
    kind = deb["Kind"](wing="field", arch=arch, python=python)

    if fits:
        deb["refuse_foreign"](kind, tmp_path)
    else:
        with pytest.raises(SystemExit, match="is not of"):
            deb["refuse_foreign"](kind, tmp_path)


def test_lintian_finds_no_error(package):
    judged = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", package],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout


def test_it_is_installed_runs_and_is_removed_without_systemd(tmp_path, package):
    with Picture(tmp_path) as picture:
        shutil.copyfile(package, picture.path("/package.deb"))
        said = picture.sh(
            """
            test ! -d /run/systemd/system
            dpkg --install /package.deb
            getent group demandflex
            cd /usr/share/doc/demandflex-field/examples
            cp site.toml.example /etc/demandflex/site.toml
            ven --help
            light-node --help
            ems-bridge --help
            light-node check --config /etc/demandflex/site.toml || test $? = 1
            test -d /usr/lib/demandflex-field/ven/__pycache__
            test ! -e /usr/lib/demandflex-field/vtn
            dpkg --remove demandflex-field
            test ! -e /usr/lib/demandflex-field
            test ! -e /usr/bin/ven
            test -e /etc/demandflex/site.toml
            dpkg --purge demandflex-field
            """
        )

    assert "Usage: ven " in said
    assert "Usage: light-node " in said
    assert "Usage: ems-bridge " in said
