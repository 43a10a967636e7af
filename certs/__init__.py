# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority for trials, demonstrations and closed networks."""

from certs.authority import Authority, Issued, SiteRole, describe
from certs.errors import AuthorityFault, CertsFault, NameRefused, UnreadableCertificate

__all__ = [
    "Authority",
    "AuthorityFault",
    "CertsFault",
    "Issued",
    "NameRefused",
    "SiteRole",
    "UnreadableCertificate",
    "describe",
]
