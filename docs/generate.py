# SPDX-License-Identifier: Apache-2.0
"""Write the documents that come from the code: the sample configuration, the options, the command line.

``python docs/generate.py`` writes them, ``--check`` fails when one is not current.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import sys
from pathlib import Path

from oslo_config import generator

from bfv import config
from bfv.api import openapi, versions
from bfv.api.policies import list_rules
from bfv.api.routes import ROUTES
from bfv.cli import parser

ROOT = Path(__file__).resolve().parent.parent


def sample() -> str:
    """Return a configuration file in which every option stands with its help and default."""
    logging.getLogger("oslo_config.generator").setLevel(logging.ERROR)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        generator.main(["--namespace", "bfv", "--wrap-width", "100"])
    # The generator writes group names in lower case.
    return text.getvalue().replace("[cell:name]", "[cell:NAME]")


def options() -> str:
    """Return the options as a page."""
    lines = [
        "# Configuration",
        "",
        "`bfv` reads `bfv.conf` where oslo.config looks for it, or `--config-file`. `etc/bfv.conf.sample` holds every",
        "option. A section `[cell:NAME]` describes each cell of `cells`.",
        "",
    ]
    for group, opts in config.list_opts():
        lines += [f"## [{group}]", ""]
        if group == config.SERVICE_GROUP:
            lines += [
                "The service user's credentials, as keystoneauth takes them: `auth_type = v3password`, `auth_url`,",
                "`username`, `password`, `project_name`, `user_domain_id`, `project_domain_id`.",
                "",
            ]
            continue
        lines += ["| option | default | meaning |", "|---|---|---|"]
        lines += [f"| `{opt.name}` | {_default(opt.default)} | {opt.help} |" for opt in opts]
        lines.append("")
    return "\n".join(lines)


def _default(value: object) -> str:
    return "-" if value in (None, [], {}) else f"`{value}`"


def commands() -> str:
    """Return the help of every verb as a page."""
    os.environ["COLUMNS"] = "100"
    top = parser()
    lines = ["# The command line", "", "```", top.format_help().rstrip(), "```", ""]
    for name, verb in _verbs(top):
        lines += [f"## bfv {name}", "", "```", verb.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def _verbs(top: argparse.ArgumentParser, prefix: str = "") -> list[tuple[str, argparse.ArgumentParser]]:
    found = []
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                nested = _verbs(verb, f"{prefix}{name} ")
                found += nested or [(f"{prefix}{name}", verb)]
    return found


def policies() -> str:
    """Return a policy file in which every rule of the API stands, commented out, with its default."""
    lines = []
    for rule in list_rules():
        lines += [f"# {rule.description}"]
        lines += [f"# {each['method']}  {each['path']}" for each in getattr(rule, "operations", ())]
        lines += [f'#"{rule.name}": "{rule.check_str}"', ""]
    return "\n".join(lines)


def api() -> str:
    """Return the API in its newest microversion as an OpenAPI document."""
    return json.dumps(openapi.document(ROUTES, versions.MAX), indent=1)


FILES = {"etc/bfv.conf.sample": sample, "docs/configuration.md": options, "docs/cli.md": commands,
         "etc/policy.yaml.sample": policies, "docs/openapi.json": api}  # fmt: skip


def main() -> int:
    """Write the files, or say which are not current."""
    stale = []
    for name, make in FILES.items():
        path, text = ROOT / name, make().rstrip() + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
