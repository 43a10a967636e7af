# SPDX-License-Identifier: Apache-2.0
"""A certificate's fingerprints: the short one OpenADR shows to people, the full one we compare."""

import hashlib


def sha256(der: bytes) -> str:
    """The SHA-256 of a DER certificate as 64 lower-case hex digits; what is stored and compared.

    >>> sha256(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(der).hexdigest()


def fingerprint(der: bytes) -> str:
    """The OpenADR fingerprint: the last 10 bytes of the SHA-256, upper-case hex with colons.

    For people to read out over the telephone: its 80 bits are too few to tell friend from foe.

    >>> fingerprint(b"")
    '93:4C:A4:95:99:1B:78:52:B8:55'
    """
    return hashlib.sha256(der).digest()[-10:].hex(":").upper()
