# SPDX-License-Identifier: Apache-2.0
"""Where the services live, and what they speak: shared by both ends (rules 53 and 511)."""

from oadr.vocabulary import ServiceName

MEDIA_TYPE = "application/xml"
PREFIX = "/OpenADR2/Simple/2.0b"
_STEPS = tuple(PREFIX.strip("/").split("/"))
_SERVICES = {service.value: service for service in ServiceName}


def path(service: ServiceName) -> str:
    """`/OpenADR2/Simple/2.0b/EiEvent` and its four siblings."""
    return f"{PREFIX}/{service.value}"


def service_of(path: str) -> ServiceName | None:
    """The service a (percent-decoded) path names, under any base path (rule 511).

    >>> service_of("/base/OpenADR2/Simple/2.0b/./OadrPoll/")
    <ServiceName.POLL: 'OadrPoll'>
    """
    steps: list[str] = []
    for step in path.removesuffix("/").split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step != ".":
            steps.append(step)
    if tuple(steps[-len(_STEPS) - 1 : -1]) != _STEPS:
        return None
    return _SERVICES.get(steps[-1])
