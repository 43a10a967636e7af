# SPDX-License-Identifier: Apache-2.0
"""The fault table: each file here tries one fault and names its trials in TRIALS."""

import importlib
import pkgutil

from chaos.trial import Trial


def every() -> list[Trial]:
    """Every trial of every file here, by file name."""
    found: list[Trial] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        trials: tuple[Trial, ...] = importlib.import_module(f"{__name__}.{module.name}").TRIALS
        found += trials
    return found
