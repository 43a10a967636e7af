# SPDX-License-Identifier: Apache-2.0
"""What devices that enrol are given to trust, and how they recognise it."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oadr.fingerprint import sha256
from vtn.config import EnrolmentSettings
from vtn.errors import ListenerFault


def trusted(settings: EnrolmentSettings) -> list[bytes]:
    """The authorities of [enrolment] trust (DER). Raises ListenerFault, naming the file."""
    try:
        found = x509.load_pem_x509_certificates(settings.trust.read_bytes())
    except (OSError, ValueError) as error:
        raise ListenerFault(
            f"{settings.trust}: no authority of VTN certificates can be read here ({error}); give "
            "[enrolment] trust the file vtn-ca.crt."
        ) from error
    for one in found:
        if one.issuer != one.subject:
            raise ListenerFault(
                f"{settings.trust}: '{one.subject.rfc4514_string()}' is no root of its own; give "
                "[enrolment] trust the file vtn-ca.crt."
            )
    return [one.public_bytes(Encoding.DER) for one in found]


def root_of(settings: EnrolmentSettings) -> str:
    """The SHA-256 by which a device knows them: that of the first. Raises ListenerFault."""
    return sha256(trusted(settings)[0])
