# SPDX-License-Identifier: Apache-2.0
"""The Compute API: nova's words over HTTP, one call of ``Cloud`` behind each. ``service.Service`` serves it."""
