#!/usr/bin/python
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what this kernel can do, and what of ours it holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgnet_info
short_description: Tell what a kernel can enforce, and what is attached and stored
version_added: 0.1.0
description:
  - Reads the live kernel and changes nothing.
author:
  - cgnet contributors (!UNKNOWN)
extends_documentation_fragment:
  - linux.cgnet.attributes
attributes:
  diff_mode:
    support: none
options: {}
seealso:
  - module: linux.cgnet.cgnet_policy
  - module: linux.cgnet.cgnet_raw_xmit
"""

EXAMPLES = r"""
- name: Look at what is enforced here
  linux.cgnet.cgnet_info:
  register: cgnet
"""

RETURN = r"""
kernel:
  description: What decides which controls can be enforced.
  returned: success
  type: dict
  contains:
    release:
      description: The kernel's release.
      type: str
      returned: success
    lsm:
      description: The active security modules.
      type: list
      elements: str
      returned: success
    lsm_cgroup:
      description: V(supported), or what lacks for programs on LSM hooks.
      type: str
      returned: success
    lsm_cgroup_slots:
      description: How many LSM hooks can have programs of type lsm_cgroup on this kernel (C(total)), and how many (C(used))
        and which (C(hooks)) have some, of whomever. Those of an unloaded program get free some time after.
      type: dict
      returned: success
    libbpf:
      description: The host's version of libbpf.
      type: str
      returned: success
    cgroup_mount:
      description: Where cgroup v2 is mounted.
      type: str
      returned: success
    pins:
      description: The directory that holds everything of ours.
      type: str
      returned: success
  sample: {"lsm_cgroup": "supported", "release": "6.1.0-1-amd64"}
objects:
  description: For each object and version its programs, and for each cgroup what is attached and which links are broken.
  returned: success
  type: dict
policies:
  description: The policy of each governed cgroup, in the terms of M(linux.cgnet.cgnet_policy), and the version that holds it.
  returned: success
  type: dict
raw_xmit:
  description: For each cgroup that M(linux.cgnet.cgnet_raw_xmit) holds V(enforced), or why it is not, which is a program that is
    not attached or a process that receives into its memory.
  returned: success
  type: dict
  sample: {"system.slice/prober.service": "enforced"}
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _module


def main() -> None:
    """The module's entry."""
    _module.info({})


if __name__ == "__main__":
    main()
