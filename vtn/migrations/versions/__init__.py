# SPDX-License-Identifier: Apache-2.0
"""One module per version, the first of them 0001."""
