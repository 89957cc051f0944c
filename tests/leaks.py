# SPDX-License-Identifier: Apache-2.0
"""No log tells a secret: what every test logs is looked through for those that tests use, in children too.

Looked at is what bfv may have logged: its own loggers at every level, those of its libraries at the level that
`--verbose` gives them. A test that leaks fails with where it was logged and what kind of secret it was, not with it.
"""

import logging
import os
import re
import tempfile
import traceback
from pathlib import Path

# A cephx key as cinder puts it into connection info (rbd_keyring_conf), which the mocked cloud of the tests does.
KEYRING = "AQBhYnMzY3JldA1zM2NyZXQtb2YtY2VwaHgtdA=="
KINDS = {
    "password": "lab(?:admin|demo|svc|db|mq)|a-secret-of-the-service-user",
    # Also of a database's URL, and what a user gives a server, as it is and in base 64.
    "secret": "s3cret|czNjcmV0|c2VjcmV0",
    "token": r"gAAAA[\w-]{16,}",
    "cephx_key": r"AQ[\w+/]{36}==",
    "application_credential": r"\b[\w-]{86}\b",
}
# Without groups it is three times as quick, and finds nothing as a rule.
_SEARCH = re.compile("|".join(KINDS.values())).search
_OURS = ("bfv", "cells", "imagebackends")
_FILE = "BFV_TEST_LEAKS"


class Watch(logging.Handler):
    """Writes down, in a file that children share, where something was logged that no log may hold."""

    def __init__(self, file):
        super().__init__(logging.NOTSET)
        self.file = Path(file)

    def emit(self, record):
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text += "".join(traceback.format_exception(record.exc_info[1]))
        self.look(f"{record.name}, {record.pathname}:{record.lineno}", text)

    def look(self, where, text):
        if found := _SEARCH(text):
            kind = next(kind for kind, words in KINDS.items() if re.fullmatch(words, found[0]))
            with self.file.open("a") as file:
                file.write(f"{where}: {kind}\n")

    def found(self):
        """Return what was written down, and forget it."""
        if not self.file.stat().st_size:
            return ""
        text = self.file.read_text()
        self.file.write_text("")
        return text


def watch():
    """Look at all that this process logs from now on; what its children find is told with it."""
    handle, os.environ[_FILE] = tempfile.mkstemp(prefix="bfv-leaks-")
    os.close(handle)
    return watch_here()


def watch_here():
    """Look at all that a child of a test's process logs from now on."""
    handler, root = Watch(os.environ[_FILE]), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min(root.level or logging.INFO, logging.INFO))
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    return handler


def look(where, text):
    """Look at what a child printed or logged."""
    Watch(os.environ[_FILE]).look(where, text)
