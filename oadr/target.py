# SPDX-License-Identifier: Apache-2.0
"""eiTarget: whom an event, a signal, a report or an opt is about.

Nothing named means "me" or "all" (rules 22 and 202); what is named is OR-ed.
"""

from dataclasses import fields
from typing import NewType

from doorway.values import value
from oadr.codec import FLOAT, at, many

Positions = NewType("Positions", tuple[float, ...])
"""Latitudes and longitudes in turn, as the sender ordered them."""


class _PositionList:
    """gml:posList: numbers between blanks."""

    @staticmethod
    def read(text: str) -> Positions:
        return Positions(tuple(FLOAT.read(number) for number in text.split()))

    @staticmethod
    def write(value: Positions) -> str:
        return " ".join(FLOAT.write(number) for number in value)


@value
class Area:
    """A polygon on the map."""

    positions: Positions = at(
        "gml:FeatureCollection/gml:location/gml:Polygon/gml:exterior/gml:LinearRing/gml:posList",
        _PositionList(),
    )


@value
class TransportInterface:
    """The edge of a transmission network, from one node to another."""

    point_of_receipt: str = at("power:pointOfReceipt")
    point_of_delivery: str = at("power:pointOfDelivery")


@value
class Target:
    """Everything the standard can aim at; VENs, resources and groups are what is used."""

    aggregated_pnodes: tuple[str, ...] = many("power:aggregatedPnode*/power:node")
    end_device_assets: tuple[str, ...] = many("power:endDeviceAsset*/power:mrid")
    """Device classes (rules 111 and 209)."""
    meter_assets: tuple[str, ...] = many("power:meterAsset*/power:mrid")
    pnodes: tuple[str, ...] = many("power:pnode*/power:node")
    service_areas: tuple[Area, ...] = many("emix:serviceArea")
    service_delivery_points: tuple[str, ...] = many("power:serviceDeliveryPoint*/power:node")
    service_locations: tuple[Area, ...] = many("power:serviceLocation")
    transport_interfaces: tuple[TransportInterface, ...] = many("power:transportInterface")
    group_ids: tuple[str, ...] = many("ei:groupID")
    group_names: tuple[str, ...] = many("ei:groupName")
    resource_ids: tuple[str, ...] = many("ei:resourceID")
    ven_ids: tuple[str, ...] = many("ei:venID")
    party_ids: tuple[str, ...] = many("ei:partyID")

    def __bool__(self) -> bool:
        """False when nothing is named: the target is then everyone it can be."""
        return any(getattr(self, field.name) for field in fields(self))
