# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority for trials, demonstrations and closed networks."""

from certs.authority import Authority, Issued, RevocationList, SiteRole, describe
from certs.errors import (
    AuthorityFault,
    CertsFault,
    NameRefused,
    NotIssuedHere,
    UnreadableCertificate,
)

__all__ = [
    "Authority",
    "AuthorityFault",
    "CertsFault",
    "Issued",
    "NameRefused",
    "NotIssuedHere",
    "RevocationList",
    "SiteRole",
    "UnreadableCertificate",
    "describe",
]
