# SPDX-License-Identifier: Apache-2.0
"""All tests of a VEN; importing this declares them in their order."""
