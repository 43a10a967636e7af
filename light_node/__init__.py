# SPDX-License-Identifier: Apache-2.0
"""The light node: the device on the meter, which samples it and holds the building's set-point."""
