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
  - Reads the live kernel and changes nothing, but that O(events=true) takes the events.
  - Needs root, or a user of the group that O(linux.cgnet.cgnet_policy#module:readers) names, to whom less is told.
author:
  - cgnet contributors (!UNKNOWN)
extends_documentation_fragment:
  - linux.cgnet.attributes
attributes:
  diff_mode:
    support: none
options:
  events:
    description:
      - With V(true), what was refused since the events were last taken, or would have been, is taken and returned as RV(events).
        Whoever asks first gets them, as root alone can. In check mode they are left where they are.
    type: bool
    default: false
  classes:
    description:
      - With V(true), RV(classes) is returned. It needs root, and python3-pyroute2 of the distribution on the host.
    type: bool
    default: false
seealso:
  - module: linux.cgnet.cgnet_htb
  - module: linux.cgnet.cgnet_policy
  - module: linux.cgnet.cgnet_raw_xmit
"""

EXAMPLES = r"""
- name: Look at what is enforced here
  linux.cgnet.cgnet_info:
  register: cgnet

- name: See what each container has sent in its class
  linux.cgnet.cgnet_info:
    classes: true
  register: cgnet

- name: See what was refused since somebody asked last
  linux.cgnet.cgnet_info:
    events: true
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
      returned: to root
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
  returned: to root
  type: dict
altered:
  description: Each directory and pin of the collection's whose owner, group or mode is not as it was made, how it is and how it
    should be. The next run for that object mends it. What is not the collection's fails this module, as it fails such a run.
  returned: to root
  type: list
  elements: str
policies:
  description: The policy of each governed cgroup, in the terms of M(linux.cgnet.cgnet_policy), and the version that holds it.
  returned: success
  type: dict
counters:
  description: For each governed cgroup and declared control, how many calls and packets were refused, and with O(ignore:mode=audit)
    how many would have been. They begin with the first policy of a cgroup, and again when that was removed or the collection was
    upgraded to another object.
  returned: success
  type: dict
  sample: {"system.slice/nginx.service": {"tos": {"audited": 0, "refused": 3}}}
events:
  description:
    - What was refused or, by its C(verdict), would have been. Oldest first.
    - Of each cgroup, control and CPU there is at most one each 100 ms, and about 900 in all wait to be taken; the newest are dropped
      then. All are counted in RV(counters).
    - Who called is told by C(process), C(thread) and C(command). A packet has none of these.
  returned: when O(events) is true
  type: list
  elements: dict
  sample: [{"call": "bind", "cgroup": "system.slice/nginx.service", "command": "nginx", "control": "bind_ports", "port": 81,
    "process": 712, "thread": 712, "time": "2026-01-31T12:00:00.123456+00:00", "verdict": "refused"}]
classes:
  description:
    - For each cgroup with a priority or with a class by M(linux.cgnet.cgnet_htb), the classes of HTB that its packets go into on
      each interface of the network namespace that the module runs in, and what these have sent.
    - A cgroup whose priority is no class of any interface has none.
  returned: when O(classes) is true
  type: dict
  sample: {"system.slice/nginx.service": {"eth0": {"1:10": {"backlog": 0, "bytes": 48620, "dropped": 0, "overlimits": 12,
    "packets": 61}}}}
raw_xmit:
  description: For each cgroup that M(linux.cgnet.cgnet_raw_xmit) holds V(enforced), or why it is not, which is a program that is
    not attached or a process that receives into its memory.
  returned: to root
  type: dict
  sample: {"system.slice/prober.service": "enforced"}
permanent:
  description: What is kept to be applied at boot and at a service's start, whether it is applied now or not.
  returned: to root
  type: dict
  contains:
    policies:
      description: The policy of each unit or cgroup path for which O(linux.cgnet.cgnet_policy#module:permanent) was given.
      type: dict
      returned: success
    raw_xmit:
      description: The units and cgroup paths for which O(linux.cgnet.cgnet_raw_xmit#module:permanent) was given.
      type: list
      elements: str
      returned: success
  sample: {"policies": {"nginx.service": {"bind_ports": {"tcp": [80, 443]}}}, "raw_xmit": ["prober.service"]}
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _info, _module

SPEC = {
    "events": {"type": "bool", "default": False},
    "classes": {"type": "bool", "default": False},
}


def main() -> None:
    """The module's entry."""
    _module.run(SPEC, _info.gather, handed=False)


if __name__ == "__main__":
    main()
