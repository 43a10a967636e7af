# SPDX-License-Identifier: Apache-2.0
"""EiRegisterParty: who takes part, and how they talk."""

from datetime import timedelta

from doorway.values import value
from oadr.codec import at, many, maybe, some
from oadr.messages import message
from oadr.response import EiResponse
from oadr.vocabulary import ProfileName, ServiceName, TransportName


@value
class Profile:
    """A profile a VTN offers, with its transports."""

    name: ProfileName = at("oadr:oadrProfileName")
    transports: tuple[TransportName, ...] = some(
        "oadr:oadrTransports/oadr:oadrTransport*/oadr:oadrTransportName"
    )


@value
class Info:
    """A key and a value of service-specific information or of an extension."""

    key: str = at("oadr:oadrKey")
    value: str = at("oadr:oadrValue")


@value
class ServiceInfo:
    service: ServiceName = at("oadr:oadrServiceName")
    infos: tuple[Info, ...] = some("oadr:oadrInfo")


@value
class Extension:
    name: str = at("oadr:oadrExtensionName")
    infos: tuple[Info, ...] = many("oadr:oadrInfo")


@message("oadr:oadrQueryRegistration")
@value
class QueryRegistration:
    request_id: str = at("pyld:requestID")


@message("oadr:oadrCreatePartyRegistration")
@value
class CreatePartyRegistration:
    """A VEN registers; with both IDs it re-registers (rule 402)."""

    request_id: str = at("pyld:requestID")
    registration_id: str | None = maybe("ei:registrationID")
    ven_id: str | None = maybe("ei:venID")
    profile: ProfileName = at("oadr:oadrProfileName", default=ProfileName.B)
    transport: TransportName = at("oadr:oadrTransportName", default=TransportName.SIMPLE_HTTP)
    transport_address: str | None = maybe("oadr:oadrTransportAddress")
    report_only: bool = at("oadr:oadrReportOnly", default=False)
    xml_signature: bool = at("oadr:oadrXmlSignature", default=False)
    ven_name: str | None = maybe("oadr:oadrVenName")
    http_pull_model: bool | None = maybe("oadr:oadrHttpPullModel")


@message("oadr:oadrCreatedPartyRegistration")
@value
class CreatedPartyRegistration:
    """What the VTN offers, and the IDs it gave (rules 403 and 404)."""

    response: EiResponse = at("ei:eiResponse")
    registration_id: str | None = maybe("ei:registrationID")
    ven_id: str | None = maybe("ei:venID")
    vtn_id: str = at("ei:vtnID")
    profiles: tuple[Profile, ...] = some("oadr:oadrProfiles/oadr:oadrProfile")
    poll_interval: timedelta | None = maybe("oadr:oadrRequestedOadrPollFreq/xcal:duration")
    services: tuple[ServiceInfo, ...] = many("oadr:oadrServiceSpecificInfo/oadr:oadrService")
    extensions: tuple[Extension, ...] = many("oadr:oadrExtensions/oadr:oadrExtension")


@message("oadr:oadrCancelPartyRegistration")
@value
class CancelPartyRegistration:
    """Either side ends the registration; the other forgets everything about it (rule 407)."""

    request_id: str = at("pyld:requestID")
    registration_id: str = at("ei:registrationID")
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrCanceledPartyRegistration")
@value
class CanceledPartyRegistration:
    response: EiResponse = at("ei:eiResponse")
    registration_id: str | None = maybe("ei:registrationID")
    ven_id: str | None = maybe("ei:venID")


@message("oadr:oadrRequestReregistration")
@value
class RequestReregistration:
    """The VTN asks a VEN to register again, keeping its IDs."""

    ven_id: str = at("ei:venID")
