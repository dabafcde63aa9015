#!/usr/bin/python
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconcile the network policies of cgroups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgnet_policy
short_description: Declare what the tasks of a cgroup may do on the network
version_added: 0.1.0
description:
  - Makes the kernel enforce, for every task of a cgroup and of the cgroups below it, what is declared here.
  - Attaches the eBPF programs that the declared controls need, and only those.
  - A control that is not declared is not governed. An empty list is not the same as none.
  - What the controls return to a task, and where each ends, is in C(docs/controls.md) of the collection.
author:
  - cgnet contributors (!UNKNOWN)
extends_documentation_fragment:
  - linux.cgnet.attributes
  - linux.cgnet.attributes.changing
options:
  policies:
    description:
      - The policies, one entry for each cgroup. One task can reconcile a whole host.
    type: list
    elements: dict
    required: true
    suboptions:
      cgroup:
        description:
          - Path of the cgroup below the cgroup v2 mount, such as V(machine.slice/web.service), or an absolute path inside it.
          - How names of any bytes are written and shown is in C(docs/controls.md) of the collection.
          - One of O(policies[].cgroup) and O(policies[].unit) is required.
        type: str
      unit:
        description:
          - Name of a running systemd unit whose cgroup is meant, such as V(nginx.service).
        type: str
      state:
        description:
          - With V(absent), the cgroup's policy and what was attached for it go. A cgroup that does not exist is fine then.
        type: str
        choices: [present, absent]
        default: present
      priority:
        description:
          - The C(SO_PRIORITY) that every socket and every packet of IP carries, a number of 32 bits or C(major:minor) in hexadecimal as C(tc) writes it.
          - Write the latter in quotes, since YAML takes an unquoted V(1:10) for the number 70.
          - The tasks can't change it. C(IP_TOS) does not change it either.
          - Of several policies the nearest to a cgroup wins. C(AF_XDP), which sends past the queueing discipline, is refused.
        type: raw
      tos:
        description:
          - What C(IP_TOS) and C(IPV6_TCLASS) may be set to. DSCP names (V(cs0) to V(cs7), V(af11) to V(af43), V(ef), V(voice-admit), V(le))
            or bytes whose two low bits, the ECN field, are zero.
          - V(0) is always allowed. With V([]) it alone is.
        type: list
        elements: raw
      bind_ports:
        description:
          - The local ports that may be bound.
          - Port 0, ports that the kernel picks, and ports from O(policies[].bind_ports.below) on are never refused.
        type: dict
        suboptions:
          tcp:
            description:
              - Ports and ranges for TCP and MPTCP. Without it TCP is not governed; with V([]) no governed port may be bound.
            type: list
            elements: raw
          udp:
            description:
              - Ports and ranges for UDP and UDP-Lite. Without it UDP is not governed; with V([]) no governed port may be bound.
            type: list
            elements: raw
          below:
            description:
              - Ports from 1 to one below this are governed (V(16384) unless given, 65536 at the most).
            type: raw
          unprivileged:
            description:
              - With V(true), the listed ports below 1024 can be bound without C(CAP_NET_BIND_SERVICE).
            type: bool
      ipv4:
        description:
          - With V(hidden), IPv4 does not exist for the tasks. C(socket(AF_INET\)) fails with C(EAFNOSUPPORT),
            and so does the use of a v4-mapped address.
        type: str
        choices: [hidden]
      sockopts:
        description:
          - Which options C(setsockopt(\)) takes, as LEVEL/NAME with names or numbers, such as V(SOL_SOCKET/SO_MARK) or V(6/42).
          - Exactly one of O(policies[].sockopts.allow) and O(policies[].sockopts.deny) is given, with at most 128 options.
        type: dict
        suboptions:
          allow:
            description:
              - Only these may be set.
            type: list
            elements: str
          deny:
            description:
              - These may not be set.
            type: list
            elements: str
      netns:
        description:
          - V(host) leaves sockets alone that live in another network namespace than the host's own, so that a
            task that has made its own is not held.
          - V(any) governs sockets in every network namespace.
        type: str
        choices: [host, any]
      mode:
        description:
          - With V(audit), nothing is refused and nothing is changed. What would have been refused is counted, and told as an event;
            M(linux.cgnet.cgnet_info) shows both. With V(enforce), they are counted and told as well as refused.
        type: str
        choices: [enforce, audit]
      retrofit:
        description:
          - With V(true), the sockets that the cgroup's tasks hold already get O(policies[].priority) too, which is required then.
          - That is for every task of the cgroup, and of the cgroups below it that have no priority of their own.
          - A socket that another policy gives another priority is left, and a warning names it.
          - With O(policies[].mode=audit) it does nothing.
        type: bool
        default: false
  permanent:
    description:
      - With V(true), the policies are applied now, and kept in C(/etc/cgnet/policies.d) to be applied at boot too, and before the
        first process of a service with each of its starts. A service need not run then.
      - What makes that happen is made by the roles C(linux.cgnet.host), without which this fails, and C(linux.cgnet.container).
      - This is for services and slices, and for cgroups by their path that no service or scope makes, which are made at boot.
      - With O(policies[].state=absent) and O(purge=true) what is kept goes too. With V(false) it stays, and a warning tells what
        comes back.
      - O(readers) and O(on_unsupported) are kept as well.
    type: bool
    default: false
  on_unsupported:
    description:
      - What happens where this kernel can't enforce a declared control in full.
      - V(fail) fails the task before anything is changed.
      - V(warn) applies what is possible, warns, and reports the reason in RV(controls).
    type: str
    choices: [fail, warn]
    default: fail
  purge:
    description:
      - With V(true), every policy of this collection on the host that is not declared here is removed.
      - With O(permanent=true) that is also true of what is kept.
    type: bool
    default: false
  readers:
    description:
      - A group of the managed host, by name or number, whose members may read what is stored for every cgroup without being root.
        M(linux.cgnet.cgnet_info) tells it to them.
      - They can change nothing, and what is attached stays closed to them.
      - Without it, who may read stays as it is, also when a new version of the programs is loaded. At first root alone may.
      - V(root) closes it again. What a member's process has open by then, it can go on reading.
      - It goes with the last policy of the host.
    type: str
seealso:
  - module: linux.cgnet.cgnet_info
  - module: linux.cgnet.cgnet_program
"""

EXAMPLES = r"""
- name: Say what a web server may do
  linux.cgnet.cgnet_policy:
    policies:
      - unit: nginx.service
        priority: "1:10"
        tos: [af21, 0x20]
        bind_ports:
          tcp: [80, 443, "8000-8099"]
          udp: []
          unprivileged: true
        sockopts:
          deny: [SOL_SOCKET/SO_MARK]

- name: Two containers in one task, and nothing else on this host
  linux.cgnet.cgnet_policy:
    purge: true
    policies:
      - cgroup: machine.slice/web.service
        ipv4: hidden
      - cgroup: machine.slice/batch.service
        priority: "1:20"
        netns: any

- name: Count what a list of ports would refuse, without refusing it
  linux.cgnet.cgnet_policy:
    policies:
      - unit: nginx.service
        mode: audit
        bind_ports:
          tcp: [80, 443]

- name: Let the members of a group see what is declared
  linux.cgnet.cgnet_policy:
    readers: adm
    policies: []

- name: Give a database that runs already its priority, on the connections that it has too
  linux.cgnet.cgnet_policy:
    policies:
      - unit: postgresql.service
        priority: 4
        retrofit: true

- name: Hold a service from its first process on, with each of its starts
  linux.cgnet.cgnet_policy:
    permanent: true
    policies:
      - unit: nginx.service
        bind_ports:
          tcp: [80, 443]

- name: Let a service alone again
  linux.cgnet.cgnet_policy:
    policies:
      - unit: nginx.service
        state: absent
"""

RETURN = r"""
actions:
  description: The plan, in its order. In check mode it was not carried out.
  returned: success
  type: list
  elements: dict
  sample: [{"action": "attach", "cgroup": "system.slice/nginx.service", "program": "policy_bind4", "version": "0123456789abcdef-01234567"}]
controls:
  description: For each declared cgroup and control V(enforced), or V(audited) with O(policies[].mode=audit), or the reason why
    this kernel can't do so in full. That is said of the sockets which tasks of the cgroup make. What holds for others, such as
    one inherited from systemd, and which ways around stay open, is in C(docs/threat-table.md) of the collection.
  returned: success
  type: dict
  sample: {"system.slice/nginx.service": {"bind_ports": "enforced", "tos": "enforced"}}
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _module, _policies

_PORTS = {"type": "list", "elements": "raw"}
_OPTIONS = {"type": "list", "elements": "str"}

SPEC = {
    "policies": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "cgroup": {"type": "str"},
            "unit": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "priority": {"type": "raw"},
            "tos": {"type": "list", "elements": "raw"},
            "bind_ports": {
                "type": "dict",
                "options": {
                    "tcp": _PORTS,
                    "udp": _PORTS,
                    "below": {"type": "raw"},
                    "unprivileged": {"type": "bool"},
                },
            },
            "ipv4": {"type": "str", "choices": ["hidden"]},
            "sockopts": {"type": "dict", "options": {"allow": _OPTIONS, "deny": _OPTIONS}},
            "netns": {"type": "str", "choices": ["host", "any"]},
            "mode": {"type": "str", "choices": ["enforce", "audit"]},
            "retrofit": {"type": "bool", "default": False},
        },
    },
    "on_unsupported": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    "permanent": {"type": "bool", "default": False},
    "purge": {"type": "bool", "default": False},
    "readers": {"type": "str"},
}


def main() -> None:
    """The module's entry."""
    _module.reconcile(SPEC, _policies.prepare)


if __name__ == "__main__":
    main()
