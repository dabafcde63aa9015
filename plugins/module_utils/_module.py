# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file on a host that speaks Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _info,
    _policies,
    _programs,
    _raw_xmit,
    _reconcile,
    _shaping,
    _worker,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError

# What the action plugin hands over (its base, plugin_utils/_action.py, refuses them in a task).
_INTERNAL = {"_object": {"type": "dict"}, "_object_path": {"type": "path"}}


def _run(module: AnsibleModule, work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    try:
        result = _worker.run(lambda: work(module.params))
    except CgnetError as error:
        module.fail_json(msg=str(error), error=type(error).__name__)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


def _reconciling(spec: dict[str, Any], prepare: Callable[..., _reconcile.Job]) -> None:
    module = AnsibleModule({**spec, **_INTERNAL}, supports_check_mode=True)
    _run(module, lambda params: _reconcile.reconcile(prepare, params, module.check_mode))


def policy(spec: dict[str, Any]) -> None:
    """Run cgnet_policy."""
    _reconciling(spec, _policies.prepare)


def program(spec: dict[str, Any]) -> None:
    """Run cgnet_program."""
    _reconciling(spec, _programs.prepare)


def raw_xmit(spec: dict[str, Any]) -> None:
    """Run cgnet_raw_xmit."""
    _reconciling(spec, _raw_xmit.prepare)


def htb(spec: dict[str, Any]) -> None:
    """Run cgnet_htb."""
    module = AnsibleModule({**spec, **_INTERNAL}, supports_check_mode=True)
    _run(module, lambda params: _shaping.reconcile(params, module.check_mode))


def info(spec: dict[str, Any]) -> None:
    """Run cgnet_info."""
    module = AnsibleModule(spec, supports_check_mode=True)
    _run(module, lambda params: _info.gather(params, module.check_mode))
