# SPDX-License-Identifier: Apache-2.0
"""Migrations of bfv's own database, run by alembic."""
