#!/usr/bin/python3
"""In systemctl's place where systemd is not the first process, as in CI: starts installed units.

Of a unit it does what decides whether a program finds its files: its own user and group, its
folders, its credentials under the names systemd gives them, and the wait for READY=1. It shuts no
doors (ProtectSystem= and the like), and watches nothing.
"""

import grp
import os
import shutil
import socket
import subprocess
import sys
import zlib
from pathlib import Path

READY_S = 60


def started(name: str) -> None:
    service: dict[str, list[str]] = {}
    for line in Path("/lib/systemd/system", name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            service.setdefault(key, []).append(value)
    (condition,) = service["ConditionPathExists"]
    if not Path(condition).exists():
        return
    user = 61184 + zlib.crc32(name.encode()) % 4000  # in the range of DynamicUser=
    group = grp.getgrnam(service["Group"][0]).gr_gid
    for kind, above in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
        folder = Path(above, service[kind][0])
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(int(service[f"{kind}Mode"][0], 8))
        os.chown(folder, user, group)
    told = Path("/run/told", name)
    told.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(told))
        told.chmod(0o666)
        line.settimeout(READY_S)
        with Path("/run", f"{name}.log").open("wb") as log:
            subprocess.Popen(
                service["ExecStart"][0].split(),
                cwd="/",
                env={
                    "PATH": "/usr/bin:/bin",
                    "NOTIFY_SOCKET": str(told),
                    "CREDENTIALS_DIRECTORY": str(credentials(name, service, user)),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=group,
                extra_groups=service.get("SupplementaryGroups", []),
                umask=int(service["UMask"][0], 8),
                start_new_session=True,
            )
        try:
            while b"READY=1" not in line.recv(999).split(b"\n"):
                pass
        except TimeoutError:
            sys.exit(f"{name}: not ready: {Path('/run', f'{name}.log').read_text()}")


def credentials(name: str, service: dict[str, list[str]], user: int) -> Path:
    """LoadCredential= of a folder: each file by its path, with _ for /, readable by nobody else."""
    folder = Path("/run/credentials", name)
    folder.mkdir(parents=True)
    for given in service["LoadCredential"]:
        label, _, source = given.partition(":")
        for file in Path(source).rglob("*"):
            if file.is_file():
                copy = folder / "_".join([label, *file.relative_to(source).parts])
                shutil.copyfile(file, copy)
                copy.chmod(0o400)
                os.chown(copy, user, -1)
    folder.chmod(0o500)
    os.chown(folder, user, -1)
    return folder


match sys.argv[1:]:
    case ["enable", "--now", *names]:
        for each in names:
            started(each)
    case ["try-restart", _]:
        pass  # nothing runs yet
    case others:
        sys.exit(f"systemctl {others}: not pretended here")
