# SPDX-License-Identifier: Apache-2.0
"""The command line of the VTN."""

from vtn.cli.door import main

__all__ = ["main"]
