# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: two ways side by side in one run, in alternating pairs, with an interval. None fails a build."""
