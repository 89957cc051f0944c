# SPDX-License-Identifier: Apache-2.0
"""Prove before the first boot that the cloud is ready (placeholder while the survey is written)."""
