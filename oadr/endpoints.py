# SPDX-License-Identifier: Apache-2.0
"""Where the services live, and what they speak: shared by both ends (rules 53 and 511)."""

from oadr.vocabulary import ServiceName

MEDIA_TYPE = "application/xml"
PREFIX = "/OpenADR2/Simple/2.0b"


def path(service: ServiceName) -> str:
    """`/OpenADR2/Simple/2.0b/EiEvent` and its four siblings."""
    return f"{PREFIX}/{service.value}"
