# SPDX-License-Identifier: Apache-2.0
"""`ven enroll`: from nothing to a VEN that is ready, by one code. A cut at any point is mended by
giving the same command again.

    ven/ven.key       made here, and never leaves                       (mode 0600)
    ven/vtn-ca.crt    whom to take for the VTN: pinned by the sheet's fingerprint
    ven/ven.crt       our certificate, then its issuer
    ven.toml          settings that work; one that is there is not touched

What is there already and still good is kept, and its step left out. A code whose answer was lost
gives the same key the same certificate again, for ten minutes.
"""

import asyncio
import shutil
import tomllib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from doorway import Fault
from doorway.clock import TIMESYNCD_FILE
from doorway.invitation import Invitation
from doorway.values import value
from light_node.local import LocalClient, Status
from oadr.registration import CreatedPartyRegistration, CreatePartyRegistration
from oadr.vocabulary import ProfileName, ServiceName, TransportName
from ven import check, config, control, est, keyring
from ven.check import Finding
from ven.client import VtnClient
from ven.config import Settings
from ven.credentials import tls_context
from ven.errors import CredentialFault, EnrolmentRefused, VtnFault
from ven.identifiers import new_id
from ven.state import State

SYSTEM: Final = Path("/etc/demandflex")
_UNITS: Final = ("light-node.service", "ven.service")
_BOOTED: Final = Path("/run/systemd/system")
"""There where systemd is the first process."""
_PATIENCE_S: Final = 45.0
"""For services that were just started: the first reading, and the registration."""

_SETTINGS: Final = """\
# Written by `ven enroll` on {today}; docs/ven.md tells the rest.
[ven]
name = {name}
cert = "ven/ven.crt"
key = "ven/ven.key"
state = {state}
ven_id = {ven_id}
{control}
[vtn]
url = {url}
ca = "ven/vtn-ca.crt"
enrolment = {enrolment}   # where the certificate is renewed, by itself

[node]
socket = {socket}

[site]
resource_id = {resource_id}
{more}timezone = {timezone}
# rated_w = 200000
# What the levels of SIMPLE events mean here; until then they change nothing:
# simple_levels = {{ 1 = {{ delta_w = -20000 }}, 2 = {{ delta_w = -50000 }} }}

[reports]
min_period_s = {period_s}
{meters}
[opt]
policy = "always"
{clock}"""
_CLOCK: Final = f"""
[clock]   # until this file is there, events go by the VTN's clock; leave it out with chrony
synchronized_file = "{TIMESYNCD_FILE}"
"""
_METER: Final = """
[[reports.meter]]   # the utility is sent what this one reads, too
id = {id}
"""


@value
class Place:
    """Where things are put."""

    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "ven" / "ven.key"

    @property
    def cert(self) -> Path:
        return self.folder / "ven" / "ven.crt"

    @property
    def trust(self) -> Path:
        return self.folder / "ven" / "vtn-ca.crt"

    @property
    def settings(self) -> Path:
        return self.folder / "ven.toml"

    @property
    def is_system(self) -> bool:
        return self.folder == SYSTEM


async def enrol(
    invitation: Invitation,
    place: Place,
    *,
    name: str,
    again: bool,
    start: bool,
    now: Callable[[], datetime],
) -> AsyncIterator[Finding]:
    """Everything up to the ready report, step by step. Raises a Fault where it cannot go on."""
    key = keyring.own_key(place.key)
    yield _good("key", f"{place.key}: made on this device, or there before; it never leaves")
    offered = await est.pinned_authorities(invitation.url, invitation.root)
    keyring.write_whole(place.trust, keyring.chain_pem(offered.roots), mode=0o644)
    yield _good("VTN", f"{invitation.url} is of the authority that the sheet names")
    kept = None if again else _kept(place, key, offered, now())
    if kept is not None:
        yield _good("certificate", f"kept, valid until {kept.not_valid_after_utc:%Y-%m-%d}")
    else:
        tls = est.trusting(offered.roots)
        csr = keyring.request(key, f"CN={name}" if name else "")
        leaf = await est.enrol(invitation.url, tls, csr, str(invitation.code))
        chain = offered.chain_of(leaf)
        keyring.checked_chain(chain, key, now=now(), whose="The certificate that came")
        keyring.write_whole(place.cert, keyring.chain_pem(chain), mode=0o644)
        yield _good(
            "certificate",
            f"issued to '{leaf.subject.rfc4514_string()}', valid until "
            f"{leaf.not_valid_after_utc:%Y-%m-%d}",
        )
    mutual = est.trusting(offered.roots)
    mutual.load_cert_chain(place.cert, place.key)
    try:
        here = await est.ven_here(invitation.url, mutual)
    except EnrolmentRefused as refused:
        raise EnrolmentRefused(
            f"{refused} With a new code, add --again to the command.", status=refused.status
        ) from refused
    if place.settings.exists():
        yield _good("settings", f"{place.settings} was there and is kept")
    else:
        keyring.write_whole(
            place.settings, settings_text(place, here, invitation.url, now()).encode(), mode=0o644
        )
        yield _good("settings", f"wrote {place.settings}; look through [site] and [opt]")
    settings = config.load(place.settings)
    if start:
        yield await _start()
    async for finding in _report(settings, now, patience_s=_PATIENCE_S if start else 0.0):
        yield finding


def ready(findings: list[Finding]) -> bool:
    return all(finding.ok for finding in findings)


# --- the certificate ------------------------------------------------------------------------------


def _kept(
    place: Place, key: keyring.PrivateKey, offered: est.Authorities, now: datetime
) -> x509.Certificate | None:
    """The certificate that is there, where it is from here, for this key and still good."""
    if not place.cert.exists():
        return None
    try:
        chain = read_chain(place.cert)
        keyring.checked_chain(chain, key, now=now, whose=str(place.cert))
    except CredentialFault:
        return None
    return chain[0] if len(offered.chain_of(chain[0])) > 1 else None


def read_chain(path: Path) -> list[x509.Certificate]:
    """Raises CredentialFault."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CredentialFault(f"{path}: it cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise CredentialFault(f"{path}: this holds no PEM certificate.") from error


# --- the settings ---------------------------------------------------------------------------------


def settings_text(place: Place, here: est.VenHere, enrolment: str, now: datetime) -> str:
    """ven.toml for this VEN, with what site.toml beside it says."""
    site = _site(place.folder / "site.toml")
    # The VTN keeps them in no order; the one that is called as the VEN is the site itself.
    resources = sorted(here.resources, key=lambda one: one != here.ven_id) or [here.ven_id]
    more = ", ".join(map(_quoted, resources[1:]))
    system = place.is_system
    socket = site.get("socket", {}).get(
        "path", "/run/light-node/light-node.sock" if system else "light-node.sock"
    )
    return _SETTINGS.format(
        today=f"{now:%Y-%m-%d}",
        name=_quoted(here.name),
        ven_id=_quoted(here.ven_id),
        state=_quoted("/var/lib/ven/ven.db" if system else "ven.db"),
        control='control = "/run/ven/ven.sock"\n' if system else "",
        clock=_CLOCK if system else "",
        url=_quoted(here.vtn_url),
        enrolment=_quoted(enrolment),
        socket=_quoted(str(socket)),
        resource_id=_quoted(resources[0]),
        more=f"more_resource_ids = [{more}]\n" if more else "",
        timezone=_quoted(str(site.get("site", {}).get("timezone", "UTC"))),
        period_s=int(site.get("sampling", {}).get("interval_s", 4)),
        meters="".join(
            _METER.format(id=_quoted(str(meter["id"])))
            for meter in site.get("meter", ())
            if meter.get("role") == "sub" and "id" in meter
        ),
    )


def _site(path: Path) -> dict[str, Any]:  # Any: TOML of another program, read for four of its keys
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(one):04x}" if ord(one) < 32 else one for one in escaped) + '"'


# --- the ready report -----------------------------------------------------------------------------


async def _start() -> Finding:
    what = "services"
    systemctl = shutil.which("systemctl")
    if systemctl is None or not _BOOTED.is_dir():
        return _bad(what, "There is no systemd here; start `light-node run` and `ven run`.")
    # A VEN that runs already is given its new certificate by a restart.
    for words in (("try-restart", "ven.service"), ("enable", "--now", *_UNITS)):
        starting = await asyncio.create_subprocess_exec(
            systemctl, *words, stderr=asyncio.subprocess.PIPE
        )
        _, said = await starting.communicate()
        if starting.returncode:
            return _bad(what, f"They do not start: {said.decode(errors='replace').strip()[:300]}")
    return _good(what, "light-node and ven are started, and again at each boot")


async def _report(
    settings: Settings, now: Callable[[], datetime], *, patience_s: float
) -> AsyncIterator[Finding]:
    registration = await _registration(settings, now)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + patience_s
    while not registration.ok and loop.time() < until_s:
        await asyncio.sleep(1.0)
        registration = await _registration(settings, now)
    found = await check.check(settings, now=now)
    while not ready([one for one in found if one.what == "light node"]) and loop.time() < until_s:
        await asyncio.sleep(1.0)
        found = await check.check(settings, now=now)
    yield registration
    for finding in found:
        if finding.what != "certificate":
            yield finding
    yield await _ems(settings)


async def _registration(settings: Settings, now: Callable[[], datetime]) -> Finding:
    """By the VEN that runs; else registered here, once: it registers anew when it begins to run."""
    what = "registration"
    try:
        status = await control.ask(settings.ven.control_socket, control.AskStatus())
    except Fault:
        pass
    else:
        assert isinstance(status, control.VenStatus)
        if status.registered:
            return _good(what, f"the running VEN is registered as '{status.ven_id}'")
        return _bad(what, status.trouble or "The running VEN is not registered yet.")
    if settings.ven.state.exists():
        try:
            state = State.peek(settings.ven.state)
        except Fault as fault:
            return _bad(what, str(fault))
        known = state.registration()
        state.close()
        if known is not None:
            return _good(what, f"registered before as '{known.ven_id}'; start the VEN")
    message = CreatePartyRegistration(
        request_id=new_id("register"),
        ven_id=settings.ven.ven_id or None,
        profile=ProfileName.B,
        transport=TransportName.SIMPLE_HTTP,
        ven_name=settings.ven.name,
        http_pull_model=True,
    )
    try:
        async with VtnClient(settings.vtn, tls_context(settings), now=now) as client:
            answer = await client.post(ServiceName.REGISTER_PARTY, message)
    except (VtnFault, CredentialFault) as fault:
        return _bad(what, str(fault))
    if not isinstance(answer, CreatedPartyRegistration) or not answer.response.ok:
        why = getattr(answer, "response", None)
        said = why.description if why is not None else type(answer).__name__
        return _bad(what, f"The VTN refuses it: {said}.")
    return _good(what, f"the VTN registers this VEN as '{answer.ven_id}'")


async def _ems(settings: Settings) -> Finding:
    what = "EMS"
    try:
        async with (
            asyncio.timeout(check.NODE_TIMEOUT_S),
            LocalClient(settings.node.socket) as client,
        ):
            status: Status = await client.status()
    except TimeoutError:
        return _bad(what, "Not asked for: the light node does not answer in time.")
    except Fault:
        return _bad(what, "Not asked for: the light node does not run yet.")
    if not status.ems.broker_connected:
        return _bad(what, "The light node has no connection to a broker; see [mqtt] in site.toml.")
    if not status.ems.online:
        never = status.ems.online is None
        return _bad(
            what,
            f"It {'was never heard of' if never else 'has left'} at the broker; start it, and "
            "compare [mqtt] ems with its name there.",
        )
    return _good(what, "is there, at the broker")


def _good(what: str, sentence: str) -> Finding:
    return Finding(what=what, ok=True, sentence=sentence)


def _bad(what: str, sentence: str) -> Finding:
    return Finding(what=what, ok=False, sentence=sentence)
