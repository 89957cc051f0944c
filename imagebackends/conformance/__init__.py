# SPDX-License-Identifier: Apache-2.0
"""The suite that every image backend must pass: what callers rely on, tried on the storage that it will serve.

Subclass ``BackendConformance``, and the class of each ability that the backend has, in a test module, and supply the
fixtures ``backend``, ``access``, ``other_access`` (of another project), ``target`` and ``image_id``; see
``docs/write-a-backend.md``. Nothing is skipped: a backend that declares an ability and does not prove it fails. All
that a test makes it removes. Nothing else in ``imagebackends`` needs pytest.
"""

from imagebackends.conformance.abilities import ReimagesConformance, SnapshotsConformance, WarmsConformance
from imagebackends.conformance.suite import BackendConformance

__all__ = ["BackendConformance", "ReimagesConformance", "SnapshotsConformance", "WarmsConformance"]
