-- SPDX-License-Identifier: Apache-2.0
CREATE DATABASE IF NOT EXISTS keystone;
CREATE DATABASE IF NOT EXISTS glance;
CREATE DATABASE IF NOT EXISTS cinder;
CREATE DATABASE IF NOT EXISTS bfv CHARACTER SET utf8mb4;
GRANT ALL ON keystone.* TO keystone@'127.0.0.1' IDENTIFIED BY '{{database_password}}';
GRANT ALL ON glance.* TO glance@'127.0.0.1' IDENTIFIED BY '{{database_password}}';
GRANT ALL ON cinder.* TO cinder@'127.0.0.1' IDENTIFIED BY '{{database_password}}';
GRANT ALL ON `bfv%`.* TO bfv@'127.0.0.1' IDENTIFIED BY '{{database_password}}';
GRANT ALL ON `bfv%`.* TO bfv@localhost IDENTIFIED BY '{{database_password}}';
