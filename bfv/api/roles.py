# SPDX-License-Identifier: Apache-2.0
"""Who the rules of the API let through by default, in oslo.policy's words (``nova/policies/base.py``)."""

ADMIN, ANYBODY = "rule:context_is_admin", "@"
MEMBER, READER = "rule:project_member_or_admin", "rule:project_reader_or_admin"
OWN_USER = "rule:context_is_admin or user_id:%(user_id)s"
SERVICE = "role:service"
