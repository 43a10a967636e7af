# SPDX-License-Identifier: Apache-2.0
"""Adapters: ours, openleadr's as the example to copy, and a person."""
