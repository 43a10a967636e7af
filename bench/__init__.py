# SPDX-License-Identifier: Apache-2.0
"""Benchmarks side by side with peers, as ratios in one run."""
