# SPDX-License-Identifier: Apache-2.0
"""Every version the VTN's database ever had, and the way from each to the next."""
