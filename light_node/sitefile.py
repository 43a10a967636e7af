# SPDX-License-Identifier: Apache-2.0
"""A site.toml for the meters that a scan has found: complete, with a comment for each choice."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from doorway.clock import TIMESYNCD_FILE
from light_node.errors import LightNodeFault
from light_node.scanning import Found

_HEAD = """\
# Written by 'light-node scan'. Look at each line, then run: light-node check --config {name}
[site]
id = {site}
node = {node}
timezone = {zone}
working_days = ["mon", "tue", "wed", "thu", "fri"]
# holidays = [2030-01-01]        # days on which the building is used as on a day off
"""
_TAIL = """{socket}
[ring]
path = {ring:<26}# the readings: 4 s for 7 days, quarters of an hour for 90
# commit_s = 60                  # so much a power cut may take in quiet times

[clock]
# Readings are marked until the clock has been set. Leave it out with chrony.
{clock}

# [mqtt]                         # without this table there is no EMS, and the node only measures
# host = "127.0.0.1"
# port = 8883
# ca = "{mqtt}mqtt-ca.crt"
# cert = "{mqtt}node-1.crt"
# key = "{mqtt}node-1.key"
# ems = "bms"                    # the one EMS that is listened to

[guard]                          # no event gets past these; set them with the building's operator
# max_reduction_w = 60000        # never ask for more than this below what the building would use
# min_load_w = 20000             # never ask the building below this
# max_load_w = 400000            # never ask it above this
# ramp_w_per_s = 2000            # never faster than this
# failsafe_max_w = 250000        # what the EMS holds when leases stop in the middle

[baseline]
method = "high 5 of 10"          # the five highest of ten like days, with same-day adjustment
"""


_SOCKET = """
[socket]
path = "/run/light-node/light-node.sock"
"""
_CLOCK = f'synchronized_file = "{TIMESYNCD_FILE}"'
SYSTEM_FOLDER = Path("/etc/demandflex")
"""Where the unit of systemd reads its settings: read-only to it, so its files lie elsewhere."""
SERVICE_FOLDERS = (Path("/var/lib/light-node"), Path("/run/light-node"))
"""Where they lie; the unit has systemd make them, for the user it makes."""


def write(path: Path, found: Sequence[Found], *, site: str, node: str) -> None:
    """Write the file. Raises LightNodeFault where there is one already, or nothing to write."""
    system = path.resolve().parent == SYSTEM_FOLDER
    text = site_file(found, name=str(path), site=site, node=node, zone=_zone(), system=system)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise LightNodeFault(
            f"{path} is there already and is left as it is; name another file."
        ) from error
    except OSError as error:
        raise LightNodeFault(f"{path} cannot be written: {error}.") from error


def site_file(
    found: Sequence[Found], *, name: str, site: str, node: str, zone: str, system: bool = False
) -> str:
    """The text of the file, with a [[meter]] for each device that has a map.

    With `system` its paths are those of the unit of systemd. The first meter is given the role
    "site". Raises LightNodeFault where there is none.
    """
    meters = [each for each in found if each.profile]
    if not meters:
        raise LightNodeFault("no meter was found that could be written down; nothing is written.")
    head = _HEAD.format(name=name, site=_text(site), node=_text(node), zone=_text(zone))
    tail = _TAIL.format(
        socket=_SOCKET if system else "",
        ring=_text("/var/lib/light-node/ring.db" if system else "ring.db"),
        clock=_CLOCK if system else f"# {_CLOCK}",
        mqtt="mqtt/" if system else "",
    )
    return head + "".join(_meter(each, n) for n, each in enumerate(meters)) + tail


def _meter(found: Found, n: int) -> str:
    place = found.place
    lines = ["", f"# {found.name}, found at {place}"]
    if found.others:
        others = " or ".join(f'"{name}"' for name in found.others)
        lines.append(f"# What it says fits {others} as well: compare with the type plate.")
    elif not found.sure:
        lines.append("# Known by what it says, not by a mark of its own: compare the type plate.")
    if found.watts is not None:
        lines.append(f"# When it was found it said {found.watts / 1000:,.2f} kW.")
    lines += [
        "[[meter]]",
        f"id = {_text('main' if n == 0 else f'meter-{n + 1}')}",
        f"profile = {_text(found.profile)}",
    ]
    if place.host:
        lines += [f"host = {_text(place.host)}", f"port = {place.port}"]
    else:
        lines += [
            f"serial = {_text(place.serial)}",
            f"baud = {place.baud}",
            f"parity = {_text(place.parity)}",
            f"stop = {place.stop}",
        ]
    role = "the meter at the grid connection" if n == 0 else "any other"
    lines += [
        f"unit = {place.unit}",
        f"role = {_text('site' if n == 0 else 'sub'):<23} # {role}",
        "# ct_ratio = 1.0               # where it does not know its current transformers",
        "# invert = true                # where it counts consumption as negative",
        "",
    ]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return msgspec.json.encode(value).decode()


def _zone() -> str:
    """The machine's time zone, "UTC" where it does not say."""
    try:
        target = str(Path("/etc/localtime").readlink())
    except OSError:
        return "UTC"
    _, found, zone = target.partition("zoneinfo/")
    return zone if found and zone != "Etc/UTC" else "UTC"
