# SPDX-License-Identifier: Apache-2.0
"""The operator's JSON API over the desk."""

from vtn.operations.app import make_app

__all__ = ["make_app"]
