# SPDX-License-Identifier: Apache-2.0
"""Real processes under faults, judged from independent ledgers."""
