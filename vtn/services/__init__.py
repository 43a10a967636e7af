# SPDX-License-Identifier: Apache-2.0
"""The five services of OpenADR 2.0b, each a function of who asks and what is asked."""
