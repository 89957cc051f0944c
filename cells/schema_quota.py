# SPDX-License-Identifier: Apache-2.0
"""Limits and server groups of nova's API database, equal to nova's tables to the index.

Source: ``nova/db/api/models.py``, the class is named beside each.
"""

import sqlalchemy as sa

from cells.schema_api import MYSQL, metadata, timestamps

# class Quota
quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    *timestamps(),
    sa.Column("project_id", sa.String(255)),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("hard_limit", sa.Integer),
    sa.UniqueConstraint("project_id", "resource", name="uniq_quotas0project_id0resource"),
    **MYSQL,
)

# class ProjectUserQuota
project_user_quotas = sa.Table(
    "project_user_quotas",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    *timestamps(),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("resource", sa.String(255), nullable=False),
    sa.Column("hard_limit", sa.Integer),
    sa.UniqueConstraint(
        "user_id", "project_id", "resource", name="uniq_project_user_quotas0user_id0project_id0resource"
    ),
    sa.Index("project_user_quotas_project_id_idx", "project_id"),
    sa.Index("project_user_quotas_user_id_idx", "user_id"),
    **MYSQL,
)

# class QuotaClass
quota_classes = sa.Table(
    "quota_classes",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("class_name", sa.String(255)),
    sa.Column("resource", sa.String(255)),
    sa.Column("hard_limit", sa.Integer),
    sa.Index("quota_classes_class_name_idx", "class_name"),
    **MYSQL,
)

# class InstanceGroup
instance_groups = sa.Table(
    "instance_groups",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.String(255)),
    sa.Column("project_id", sa.String(255)),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.UniqueConstraint("uuid", name="uniq_instance_groups0uuid"),
    **MYSQL,
)

# class InstanceGroupMember
instance_group_member = sa.Table(
    "instance_group_member",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("instance_uuid", sa.String(255)),
    sa.Column("group_id", sa.Integer, sa.ForeignKey("instance_groups.id"), nullable=False),
    sa.Index("instance_group_member_instance_idx", "instance_uuid"),
    **MYSQL,
)

# class InstanceGroupPolicy
instance_group_policy = sa.Table(
    "instance_group_policy",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("policy", sa.String(255)),
    sa.Column("group_id", sa.Integer, sa.ForeignKey("instance_groups.id"), nullable=False),
    sa.Column("rules", sa.Text),
    sa.Index("instance_group_policy_policy_idx", "policy"),
    **MYSQL,
)
