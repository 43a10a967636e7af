"""The Debian package of the field wing: built, judged by lintian, installed, run and removed.

It is installed in a copy-on-write picture of this machine, which is gone afterwards. That needs
root: without it the test says so and fails.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)  # building it takes what the network takes

IN_A_PICTURE = """
set -e
mount -t tmpfs tmpfs {picture}
cd {picture}
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
cp {package} root/package.deb
exec chroot root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec '{script}'
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    asked = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    words = ["--wing", "field", "--arch", "amd64", "--python", python, "--out", out]
    subprocess.run([sys.executable, ROOT / "scripts" / "deb", *words], check=True)
    (file,) = out.iterdir()
    return file


def in_a_picture(folder: Path, package: Path, script: str) -> str:
    """What a shell script says as root of a machine like this one, where package.deb lies in /."""
    assert os.geteuid() == 0, "installing a package needs root: run this test as root."
    picture = folder / "picture"
    picture.mkdir()
    steps = IN_A_PICTURE.format(picture=picture, package=package, script=script)
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", steps],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lintian_finds_no_error(package):
    judged = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", package],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout


def test_it_is_installed_runs_and_is_removed_without_systemd(tmp_path, package):
    said = in_a_picture(
        tmp_path,
        package,
        """
        test ! -d /run/systemd/system
        dpkg --install /package.deb
        getent group demandflex
        cp /usr/share/doc/demandflex-field/examples/site.toml.example /etc/demandflex/site.toml
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
        """,
    )

    assert "Usage: ven " in said
    assert "Usage: light-node " in said
    assert "Usage: ems-bridge " in said
