# SPDX-License-Identifier: Apache-2.0
"""``bfv.api.wsgi:application`` for a WSGI server of the operator's choice, with threads and the modules loaded after
its processes are made. `bfv serve` needs none.

To import it opens the cloud of the configuration that ``BFV_CONFIG_FILE`` names (default: where oslo.config looks).
"""

import atexit
import logging
import os
import sys

from bfv import config
from bfv.api.app import Application
from bfv.api.upkeep import Upkeep
from bfv.cloud import Cloud


def _open() -> Application:
    """Open the cloud, look after it until the process ends, and return what answers requests. Raises BadConfig."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("bfv").setLevel(logging.INFO)
    conf = config.load(os.environ.get("BFV_CONFIG_FILE"))
    cloud = Cloud(conf)
    upkeep = Upkeep(cloud)
    # The last one that is registered runs first.
    atexit.register(cloud.close, conf.api.stop_timeout)
    atexit.register(upkeep.stop)
    upkeep.start()
    return Application(cloud)


application = _open()
