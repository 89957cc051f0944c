# SPDX-License-Identifier: Apache-2.0
"""The checks that default rules are made of; ``bfv.api.policies`` says what they mean."""

ADMIN, ANYBODY = "rule:context_is_admin", "@"
MEMBER, READER = "rule:project_member_or_admin", "rule:project_reader_or_admin"
SERVICE = "role:service"
