# SPDX-License-Identifier: Apache-2.0
"""Where devices come from nothing to a certificate, and renew it: EST (RFC 7030)."""
