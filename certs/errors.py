# SPDX-License-Identifier: Apache-2.0
"""Faults of the certificate tool.

Fault
└── CertsFault
    ├── AuthorityFault     the authority's folder is missing, half there, or already used
    ├── NameRefused        a name or host that no certificate may carry
    ├── NotIssuedHere      a certificate to be revoked that another authority issued
    ├── RequestRefused     a certificate signing request that is not granted
    ├── CodeRefused        the VTN makes no enrolment code, or does not answer
    └── UnreadableCertificate   the file holds no PEM certificate
"""

from doorway import Fault


class CertsFault(Fault):
    """A refusal of the certificate tool; no file was written."""


class AuthorityFault(CertsFault):
    """The folder cannot be used as asked; the sentence names the file."""


class NameRefused(CertsFault):
    """The name or host would not make a sound certificate."""


class NotIssuedHere(CertsFault):
    """Another authority issued the certificate, and only that can revoke it."""


class UnreadableCertificate(CertsFault):
    """There is no certificate to show in the file."""


class RequestRefused(CertsFault):
    """A certificate signing request that is not granted; the sentence says why."""


class CodeRefused(CertsFault):
    """The VTN makes no enrolment code, or does not answer."""
