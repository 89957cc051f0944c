-- SPDX-License-Identifier: Apache-2.0
-- Part of the schema of a real nova at revision cdeec0c85668, as SQLite dumps it.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE cell_mappings (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	transport_url TEXT, 
	database_connection TEXT, 
	disabled BOOLEAN, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_cell_mappings0uuid UNIQUE (uuid)
);
CREATE INDEX uuid_idx ON cell_mappings (uuid);
CREATE TABLE host_mappings (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	cell_id INTEGER NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_host_mappings0host UNIQUE (host), 
	FOREIGN KEY(cell_id) REFERENCES cell_mappings (id)
);
CREATE INDEX host_idx ON host_mappings (host);
CREATE TABLE instance_mappings (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	instance_uuid VARCHAR(36) NOT NULL, 
	cell_id INTEGER, 
	project_id VARCHAR(255) NOT NULL, 
	queued_for_delete BOOLEAN, 
	user_id VARCHAR(255), 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_instance_mappings0instance_uuid UNIQUE (instance_uuid), 
	FOREIGN KEY(cell_id) REFERENCES cell_mappings (id)
);
CREATE INDEX instance_uuid_idx ON instance_mappings (instance_uuid);
CREATE INDEX project_id_idx ON instance_mappings (project_id);
CREATE INDEX instance_mappings_user_id_project_id_idx ON instance_mappings (user_id, project_id);
CREATE TABLE request_specs (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	instance_uuid VARCHAR(36) NOT NULL, 
	spec TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_request_specs0instance_uuid UNIQUE (instance_uuid)
);
CREATE INDEX request_spec_instance_uuid_idx ON request_specs (instance_uuid);
CREATE TABLE flavors (
	created_at DATETIME, 
	updated_at DATETIME, 
	name VARCHAR(255) NOT NULL, 
	id INTEGER NOT NULL, 
	memory_mb INTEGER NOT NULL, 
	vcpus INTEGER NOT NULL, 
	swap INTEGER NOT NULL, 
	vcpu_weight INTEGER, 
	flavorid VARCHAR(255) NOT NULL, 
	rxtx_factor FLOAT, 
	root_gb INTEGER, 
	ephemeral_gb INTEGER, 
	disabled BOOLEAN, 
	is_public BOOLEAN, 
	description TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_flavors0flavorid UNIQUE (flavorid), 
	CONSTRAINT uniq_flavors0name UNIQUE (name)
);
CREATE TABLE flavor_extra_specs (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	flavor_id INTEGER NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_flavor_extra_specs0flavor_id0key UNIQUE (flavor_id, "key"), 
	FOREIGN KEY(flavor_id) REFERENCES flavors (id)
);
CREATE INDEX flavor_extra_specs_flavor_id_key_idx ON flavor_extra_specs (flavor_id, "key");
CREATE TABLE flavor_projects (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	flavor_id INTEGER NOT NULL, 
	project_id VARCHAR(255) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uniq_flavor_projects0flavor_id0project_id UNIQUE (flavor_id, project_id), 
	FOREIGN KEY(flavor_id) REFERENCES flavors (id)
);
