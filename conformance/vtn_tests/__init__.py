# SPDX-License-Identifier: Apache-2.0
"""All tests of a VTN; importing this declares them in their order."""

from conformance.vtn_tests import (
    event,
    general,
    opt,
    ported,
    probes,
    registration,
    report,
    signature,
)

__all__ = ["event", "general", "opt", "ported", "probes", "registration", "report", "signature"]
