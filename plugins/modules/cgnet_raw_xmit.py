#!/usr/bin/python
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let cgroups send raw packets and receive none."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgnet_raw_xmit
short_description: Let the tasks of a cgroup send raw packets without being able to sniff
version_added: 0.1.0
description:
  - Raw sockets, which are C(AF_PACKET) ones and those of C(AF_INET) and C(AF_INET6) with C(SOCK_RAW), send as ever
    and receive nothing, for every task of a cgroup and of the cgroups below it, in every network namespace.
  - Reading from such a socket, and what would make it receive, fails with C(EPERM). Other sockets are left alone.
  - Nobody gains anything. A task needs C(CAP_NET_RAW) to make a raw socket, as it does without this. Give it that
    one capability; C(CAP_NET_ADMIN), C(CAP_BPF), C(CAP_PERFMON) and C(CAP_SYS_ADMIN) each have ways of their own
    to see others' packets.
  - Every way around that is known, and what stops it, is in C(docs/threat-table.md) of the collection.
author:
  - cgnet contributors (!UNKNOWN)
extends_documentation_fragment:
  - linux.cgnet.attributes
  - linux.cgnet.attributes.changing
options:
  cgroup:
    description:
      - Paths of cgroups below the cgroup v2 mount, such as V(machine.slice/prober), or absolute paths inside it.
      - How names of any bytes are written and shown is in C(docs/controls.md) of the collection.
      - At least one of O(cgroup) and O(unit) is required.
    type: list
    elements: str
  unit:
    description:
      - Names of running systemd units whose cgroups are meant, such as V(prober.service).
    type: list
    elements: str
  state:
    description:
      - Whether the cgroups' tasks are held. Other cgroups that are held stay so, by the same version of the programs.
      - With V(absent), a cgroup that does not exist is fine.
    type: str
    choices: [present, absent]
    default: present
  permanent:
    description:
      - With V(true), this is applied now, and kept in C(/etc/cgnet/raw_xmit.d) to be applied at boot too, and before the first
        process of a service with each of its starts. A service need not run then.
      - O(linux.cgnet.cgnet_policy#module:permanent) tells for what that is possible, and what it takes.
    type: bool
    default: false
notes:
  - There is no way to enforce this without the BPF LSM, so the task fails where C(bpf) is not in
    C(/sys/kernel/security/lsm). It takes four of the hooks of which one kernel can have ten; M(linux.cgnet.cgnet_info)
    tells how many are used.
  - A task that receives into memory already, from a ring of C(AF_PACKET) or from C(AF_XDP), can't be stopped by any hook.
    Where a cgroup has such a task, this fails and names the process.
seealso:
  - module: linux.cgnet.cgnet_policy
  - module: linux.cgnet.cgnet_info
"""

EXAMPLES = r"""
- name: Let a prober send and not sniff
  linux.cgnet.cgnet_raw_xmit:
    unit: prober.service

- name: Let it do so after a restart and a reboot too
  linux.cgnet.cgnet_raw_xmit:
    unit: prober.service
    permanent: true

- name: Let two containers alone again
  linux.cgnet.cgnet_raw_xmit:
    cgroup:
      - machine.slice/prober-a
      - machine.slice/prober-b
    state: absent
"""

RETURN = r"""
actions:
  description: The plan, in its order. In check mode it was not carried out.
  returned: success
  type: list
  elements: dict
  sample: [{"action": "attach", "cgroup": "system.slice/prober.service", "program": "raw_xmit_recvmsg", "version": "0123456789abcdef-01234567"}]
controls:
  description: For each cgroup that is held C(raw_xmit) with V(enforced). Where it can't be, the task fails.
  returned: success
  type: dict
  sample: {"system.slice/prober.service": {"raw_xmit": "enforced"}}
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _module, _raw_xmit

_NAMES = {"type": "list", "elements": "str"}

SPEC = {
    "cgroup": _NAMES,
    "unit": _NAMES,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "permanent": {"type": "bool", "default": False},
}


def main() -> None:
    """The module's entry."""
    _module.reconcile(SPEC, _raw_xmit.prepare)


if __name__ == "__main__":
    main()
