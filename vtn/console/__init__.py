# SPDX-License-Identifier: Apache-2.0
"""The operator's console: pages in a browser, rendered here; see vtn.console.door."""
