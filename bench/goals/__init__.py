# SPDX-License-Identifier: Apache-2.0
"""The goals of performance.md, a module for each group."""
