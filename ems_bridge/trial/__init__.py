# SPDX-License-Identifier: Apache-2.0
"""The trial of an EMS: plays a light node and judges whether the EMS keeps docs/topics.md."""
