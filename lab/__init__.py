# SPDX-License-Identifier: Apache-2.0
"""A real two-cell block-storage cloud on one loopback machine, for tests that mocks cannot answer."""
