# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file on a host that speaks Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.linux.cgnet.plugins.module_utils import _reconcile, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError

# What the action plugin hands over (its base, plugin_utils/_action.py, refuses them in a task).
_INTERNAL = {"_object": {"type": "dict"}, "_object_path": {"type": "path"}}


def run(
    spec: dict[str, Any],
    work: Callable[[Mapping[str, Any], bool], dict[str, Any]],
    handed: bool = True,
) -> None:
    """Run a module: its work gets the parameters, and whether it is check mode.

    `handed` is whether the action plugin hands over an object.
    """
    module = AnsibleModule({**spec, **(_INTERNAL if handed else {})}, supports_check_mode=True)
    try:
        result = _worker.run(lambda: work(module.params, module.check_mode))
    except CgnetError as error:
        module.fail_json(msg=str(error), error=type(error).__name__)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


def reconcile(spec: dict[str, Any], prepare: Callable[..., _reconcile.Job]) -> None:
    """Run a module that describes what it wants as a Job."""
    run(spec, lambda params, check: _reconcile.reconcile(prepare, params, check))
