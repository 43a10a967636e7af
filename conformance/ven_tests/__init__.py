# SPDX-License-Identifier: Apache-2.0
"""All tests of a VEN; importing this declares them in their order."""

from conformance.ven_tests import (
    event,
    general,
    opt,
    refusal,
    registration,
    report,
    signature,
    site,
)

__all__ = ["event", "general", "opt", "refusal", "registration", "report", "signature", "site"]
