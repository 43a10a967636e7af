# SPDX-License-Identifier: Apache-2.0
"""`ven check`: what is in place and what is missing, in plain words. Changes nothing."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from doorway import Fault
from doorway.values import value
from light_node.local import LocalClient
from oadr.errors import Unsigned
from oadr.registration import CreatedPartyRegistration, QueryRegistration
from oadr.vocabulary import ServiceName
from ven import control
from ven.client import Seal, VtnClient, base_url
from ven.config import Settings
from ven.credentials import read_credentials, tls_context
from ven.describe import EXPIRES_SOON, not_read
from ven.errors import VtnFault
from ven.identifiers import new_id
from ven.registration import check_offer

NODE_TIMEOUT_S = 5.0
_SERVICE_FOLDER = Path("/var/lib/ven")
"""The unit has systemd make it, for the user it makes."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at."""

    what: str
    ok: bool
    sentence: str


@value
class _Look:
    what: str
    good: str = ""
    bad: str = ""

    def finding(self) -> Finding:
        return Finding(what=self.what, ok=not self.bad, sentence=self.bad or self.good)


async def check(settings: Settings, *, now: Callable[[], datetime]) -> list[Finding]:
    """Look at the certificate, the state's folder, the VTN, the light node and the settings."""
    looks = [
        _certificate(settings, now()),
        _state(settings),
        await _vtn(settings, now),
        *await _push(settings),
        await _node(settings, now()),
        *_site(settings),
    ]
    return [look.finding() for look in looks]


def _certificate(settings: Settings, now: datetime) -> _Look:
    what = "certificate"
    try:
        tls_context(settings)
        credentials = read_credentials(settings.ven.cert)
    except Fault as fault:
        return _Look(what=what, bad=str(fault))
    until = credentials.not_after_at
    if now >= until:
        return _Look(what=what, bad=f"It expired on {until:%Y-%m-%d}; have a new one issued.")
    if now < credentials.not_before_at:
        return _Look(
            what=what,
            bad=f"It is valid only from {credentials.not_before_at:%Y-%m-%d}; check the clock.",
        )
    soon = "; have it renewed soon" if now + EXPIRES_SOON > until else ""
    return _Look(
        what=what,
        good=f"valid until {until:%Y-%m-%d}{soon}; fingerprint {credentials.fingerprint}",
    )


def _state(settings: Settings) -> _Look:
    folder = settings.ven.state.parent
    if folder == _SERVICE_FOLDER and not folder.exists():
        return _Look(what="state", good=f"{folder} is made when the service starts")
    if not folder.is_dir():
        return _Look(what="state", bad=f"{folder}: there is no such folder; make it.")
    if settings.ven.state.exists():
        return _Look(what="state", good=f"kept in {settings.ven.state}")
    return _Look(what="state", good=f"will be made at {settings.ven.state}")


async def _vtn(settings: Settings, now: Callable[[], datetime]) -> _Look:
    what = "VTN"
    request = QueryRegistration(request_id=new_id("query"))
    try:
        seal = await _seal(settings, now)
        tls = tls_context(settings)
        async with VtnClient(settings.vtn, tls, now=now, seal=seal) as client:
            answer = await client.post(ServiceName.REGISTER_PARTY, request)
            offset_s = client.clock_offset_s
    except VtnFault as fault:
        if isinstance(fault.__cause__, Unsigned):
            return _Look(what=what, good="answers, but signs nothing before this VEN is registered")
        return _Look(what=what, bad=str(fault))
    except Fault as fault:
        return _Look(what=what, bad=f"It is not asked before the certificates can be used: {fault}")
    if not isinstance(answer, CreatedPartyRegistration):
        return _Look(what=what, bad=f"It answers {type(answer).__name__} to a query; check [vtn].")
    if not answer.response.ok:
        return _Look(
            what=what,
            bad=(
                f"It answers {answer.response.response_code} "
                f"({answer.response.description or 'no reason given'}); give its operator this "
                "VEN's fingerprint ('ven fingerprint')."
            ),
        )
    try:
        check_offer(answer)
    except VtnFault as fault:
        return _Look(what=what, bad=str(fault))
    if offset_s:
        return _Look(
            what=what, bad=f"Its clock is {offset_s:+.0f} s from this one; check NTP here."
        )
    known = f"knows this VEN as '{answer.ven_id}'" if answer.ven_id else "answers"
    return _Look(what=what, good=f"{known} at {base_url(settings.vtn.url)}")


async def _seal(settings: Settings, now: Callable[[], datetime]) -> Seal | None:
    if not settings.signature.sign:
        return None
    # The signature stack waits for its use to save memory.
    from ven import signing  # noqa: PLC0415 - as said above

    return await signing.Seal.of(settings, now=now)


async def _push(settings: Settings) -> list[_Look]:
    """Whether pushes can be listened for, or a running VEN does so already."""
    push = settings.push
    if push is None:
        return []
    # The listener waits for its use to save memory.
    from ven.listener import bound  # noqa: PLC0415 - as said above

    with contextlib.suppress(Fault):
        await control.ask(settings.ven.control_socket, control.AskStatus())
        return [_Look(what="push", good=f"this VEN runs and takes pushes for {push.address}")]
    try:
        bound(push).close()
    except Fault as fault:
        return [_Look(what="push", bad=str(fault))]
    return [_Look(what="push", good=f"will be listened for; the VTN is told {push.address}")]


async def _node(settings: Settings, now: datetime) -> _Look:
    what = "light node"
    try:
        async with asyncio.timeout(NODE_TIMEOUT_S), LocalClient(settings.node.socket) as client:
            status = await client.status()
            recent = await client.span(now - timedelta(minutes=3), now)
            if unknown := not_read(settings, status):
                return _Look(what=what, bad=unknown)
            for meter in settings.reports.sub_meters:
                of_it = await client.span(now - timedelta(minutes=3), now, meter=meter.id)
                if meter.energy and of_it.ids and all(one is None for one in of_it.energy_wh):
                    return _Look(
                        what=what,
                        bad=(
                            f"The meter '{meter.id}' counts no energy: set energy = false in its "
                            "[[reports.meter]] here."
                        ),
                    )
    except TimeoutError:
        return _Look(what=what, bad=f"{settings.node.socket}: it does not answer in time.")
    except Fault as fault:
        return _Look(what=what, bad=str(fault))
    if not any(meter.online for meter in status.meters):
        return _Look(what=what, bad="It runs, but reads no meter; see 'light-node check'.")
    if not recent.ids:
        # What it reads is handed out once it is on its disk: in quiet times, within a minute.
        return _Look(
            what=what,
            good=f"reads {len(status.meters)} meter(s); `ven check` looks at readings in a minute",
        )
    if settings.reports.energy and all(energy is None for energy in recent.energy_wh):
        return _Look(
            what=what, bad="The meter counts no energy: set [reports] energy = false here."
        )
    with contextlib.suppress(ValueError):
        period_s = min(
            later - earlier
            for earlier, later in zip(recent.starts_at, recent.starts_at[1:], strict=False)
        )
        if period_s != settings.reports.min_period_s:
            return _Look(
                what=what,
                bad=(
                    f"It samples every {period_s:g} s, but [reports] min_period_s says "
                    f"{settings.reports.min_period_s} s."
                ),
            )
    return _Look(what=what, good=f"reads {len(status.meters)} meter(s)")


def _site(settings: Settings) -> list[_Look]:
    site = settings.site
    looks = []
    if len(site.simple_levels) < 3:
        looks.append(
            _Look(
                what="SIMPLE levels",
                good=(
                    f"{len(site.simple_levels)} of 3 mean something here; an event of another "
                    "level holds the next milder one, or nothing"
                ),
            )
        )
    if site.rated_w is None:
        looks.append(
            _Look(
                what="rated load",
                good="not given: load control capacities are refused (460), ramps are abrupt",
            )
        )
    return looks
