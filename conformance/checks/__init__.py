# SPDX-License-Identifier: Apache-2.0
"""The message checks: every payload that comes in, in whatever test, goes through all of them.

A check is pure: it looks at the message, at its raw tree and at the circumstances, and says what it
saw that its rule forbids.
"""

from conformance.checks import events, every, metadata, opts, registration, requests, values
from conformance.checks.check import CHECKS, Check, examine
from conformance.checks.http import examine_headers

__all__ = [
    "CHECKS",
    "Check",
    "events",
    "every",
    "examine",
    "examine_headers",
    "metadata",
    "opts",
    "registration",
    "requests",
    "values",
]
