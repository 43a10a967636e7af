# SPDX-License-Identifier: Apache-2.0
"""Checks of HTTP headers (rule 53)."""

from collections.abc import Mapping

from conformance.outcome import Finding


def examine_headers(headers: Mapping[str, str], *, request: bool, body: bytes) -> list[Finding]:
    """What is wrong with the HTTP headers of a message (rule 53); names in any case."""
    low = {name.lower(): value for name, value in headers.items()}
    findings = []

    def say(seen: str, wanted: str) -> None:
        findings.append(Finding(rule=53, seen=seen, wanted=wanted, message="HTTP"))

    if request and not low.get("host"):
        say("no Host header", "Host")
    if low.get("transfer-encoding"):
        say(f"Transfer-Encoding: {low['transfer-encoding']}", "a body that is not chunked")
    elif "content-length" not in low:
        say("no Content-Length header", "Content-Length")
    kind = low.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/xml":
        say(f"Content-Type: {low.get('content-type', 'none')}", "Content-Type: application/xml")
    return findings
