"""Events, rows and settings for the tests of the VEN; each argument has a plain default."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from doorway import decode_settings
from light_node.local import EmsState, MeterStatus, OverrideState, Status
from oadr import units
from oadr.event import DistributeEvent, Event, Signal, SignalInterval
from oadr.vocabulary import EventStatus, OptType, ScaleCode, SignalType
from ven.config import OptSettings, Settings, SiteSettings
from ven.events import Party
from ven.known import KnownEvent
from ven.telemetry import Row

START = datetime(2030, 1, 9, 15, 0, tzinfo=UTC)
KILOWATT = units.power(ScaleCode.KILO)
QUIET = OverrideState(active=False)


def signal(
    *values,
    name="LOAD_DISPATCH",
    kind=SignalType.DELTA,
    unit=KILOWATT,
    lengths_s=None,
    signal_id="s",
):
    lengths = lengths_s or [3600 // len(values)] * len(values)
    return Signal(
        intervals=tuple(
            SignalInterval(duration=timedelta(seconds=length), uid=str(uid), value=value)
            for uid, (value, length) in enumerate(zip(values, lengths, strict=True))
        ),
        signal_name=name,
        signal_type=kind,
        signal_id=signal_id,
        unit=unit,
    )


def simple(*levels, lengths_s=None):
    return signal(
        *levels,
        name="SIMPLE",
        kind=SignalType.LEVEL,
        unit=None,
        signal_id="simple",
        lengths_s=lengths_s,
    )


def price(*values, lengths_s=None):
    return signal(
        *values,
        name="ELECTRICITY_PRICE",
        kind=SignalType.PRICE,
        unit=units.price_per_kwh("EUR"),
        signal_id="price",
        lengths_s=lengths_s,
    )


def event(event_id="e", *, starts_at=START, length_s=3600, signals=None, modification=0, **changes):
    made = Event(
        event_id=event_id,
        modification_number=modification,
        market_context="http://market.example",
        created_at=START - timedelta(hours=1),
        status=EventStatus.FAR,
        starts_at=starts_at,
        duration=timedelta(seconds=length_s),
        notification=timedelta(0),
        signals=signals or (signal(-40.0, lengths_s=[length_s]),),
    )
    return replace(made, **changes)


def known(event_=None, *, offset_s=0, opt=OptType.OPT_IN, **changes):
    made = KnownEvent(
        event=event_ or event(),
        offset=timedelta(seconds=offset_s),
        opt=opt,
        decided_by="policy",
        reason="Because.",
        request_id="d-1",
        seen_at=START - timedelta(hours=1),
    )
    return replace(made, **changes)


def distribute(*events, request_id="d-1", vtn_id="vtn"):
    return DistributeEvent(request_id=request_id, vtn_id=vtn_id, events=events)


def site(**changes):
    return SiteSettings(**{"resource_id": "building-1", **changes})


def party(*, opt=None, override=QUIET, **site_changes):
    return Party(
        ven_id="ven",
        vtn_id="vtn",
        site=site(**site_changes),
        opt=opt or OptSettings(),
        override=override,
    )


def row(row_id, at, watts=1000.0, energy_wh=5.0, quality="good"):
    return Row(
        row_id=row_id, starts_at=float(at), watts=watts, energy_wh=energy_wh, quality=quality
    )


def settings(folder=Path("/nowhere"), **tables):
    raw = {
        "ven": {"name": "hq", "cert": "hq.crt", "key": "hq.key", "state": "ven.db"},
        "vtn": {"url": "https://vtn.example", "ca": "ca.crt"},
        "node": {"socket": "node.sock"},
        "site": {"resource_id": "building-1"},
    }
    for name, table in tables.items():
        raw[name] = {**raw.get(name, {}), **table}
    return decode_settings(raw, Settings, source="ven.toml", folder=folder)


def node_status(**changes):
    fields = {
        "n": 0,
        "at": START,
        "boot": "b",
        "version": "1",
        "meters": (
            MeterStatus(
                id="m", profile="p", online=True, last_good_at=START, last_watts=1.0, quality="good"
            ),
        ),
        "ems": EmsState(broker_connected=True, online=True, last_seen_at=START),
        "lease": None,
        "override": OverrideState(active=False),
        "plan_version": 1,
        "plan_steps": 1,
        "ring_rows": 1,
        "guard": "normal",
    }
    return Status(**{**fields, **changes})
