# SPDX-License-Identifier: Apache-2.0
"""What the operator's API is told, besides the orders of vtn.orders."""

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class NewCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another certificate of a VEN that is known."""

    certificate_sha256: str = ""
    """64 hex digits over the DER certificate; needless where `certificate` is given."""
    certificate: str = ""
    """The certificate itself (PEM)."""


class NewVen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VEN to let in."""

    certificate_sha256: str = ""
    """64 hex digits over the DER certificate; needless where `certificate` is given."""
    certificate: str = ""
    """The certificate itself (PEM): with it signatures can be verified from the start."""
    ven_id: str | None = None
    """Made by the VTN where nothing is said."""
    name: str = ""
    """The venID where nothing is said."""
    resources: tuple[Name, ...] = ()
    groups: tuple[Name, ...] = ()


class NewCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A one-time enrolment code to make."""

    ven_id: Name
    """Of a new VEN, or of one whose device is replaced."""
    name: str = ""
    """The venID where nothing is said."""
    resources: tuple[Name, ...] = ()
    groups: tuple[Name, ...] = ()
    hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 14)] | None = None
    """How long it is good for; [enrolment] code_hours where nothing is said."""


class NewResource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    resource_id: Name


class NewGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group_id: Name
    name: str = ""
    vens: tuple[Name, ...] = ()


class GroupEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a group is from now on."""

    name: Name
    vens: tuple[Name, ...]


class MarketContextEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class Members(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    vens: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]


class NewMarketContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uri: Name
    name: str = ""


class CancelReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to_follow: bool = False
    """One final report is wanted (rule 345)."""


class StopOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The emergency stop."""

    word: str
    """STOP, typed out."""


class Declined(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a proposal is refused."""

    remark: Annotated[str, msgspec.Meta(max_length=500)] = ""
