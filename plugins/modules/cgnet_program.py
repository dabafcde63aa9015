#!/usr/bin/python
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load eBPF objects and attach their programs to cgroups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgnet_program
short_description: Build, load, pin and attach an eBPF object to cgroups
version_added: 0.1.0
description:
  - Attaches every program of an eBPF object to each of the named cgroups by pinned links, or removes them.
  - A changed object replaces the one before without a gap. The new programs are attached, on every cgroup that
    has the old ones, before those are detached. What the old one's maps held is not carried over.
  - With O(name=policy), the bundled object of M(linux.cgnet.cgnet_policy) is loaded and stands ready on the cgroups;
    it enforces nothing until a policy is declared, and policies that are there move to the bundled version.
  - With O(name=raw_xmit), the bundled object of M(linux.cgnet.cgnet_raw_xmit) is attached and enforces. That module
    also looks for tasks that receive already, which this one does not.
  - The playbook C(linux.cgnet.uninstall) removes every object that there is on a host, by this module.
author:
  - cgnet contributors (!UNKNOWN)
extends_documentation_fragment:
  - linux.cgnet.attributes
  - linux.cgnet.attributes.changing
options:
  name:
    description:
      - Name of the object, 1 to 32 letters, digits and underscores. V(policy) and V(raw_xmit) are bundled; another name needs O(source).
    type: str
    required: true
  source:
    description:
      - A C(.bpf.c), compiled on the controller by clang 16 or later once for each content, or a C(.bpf.o), shipped as it is.
      - Looked for as M(ansible.builtin.copy) does. Reading it needs the Python package pyelftools on the controller.
      - Its programs' sections are C(cgroup/*), C(cgroup_skb/*), C(sockops) or C(lsm_cgroup/*).
    type: path
  cgroups:
    description:
      - Paths of cgroups below the cgroup v2 mount, or absolute paths inside it.
      - How names of any bytes are written and shown is in C(docs/controls.md) of the collection.
      - With O(state=present), at least one; other cgroups that have the object keep it.
      - With O(state=absent), the ones to leave; without it, all.
    type: list
    elements: str
  state:
    description:
      - Whether the object is attached. What no cgroup uses any more is unpinned, and nothing is left.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: linux.cgnet.cgnet_policy
  - module: linux.cgnet.cgnet_raw_xmit
"""

EXAMPLES = r"""
- name: Attach a program of one's own
  linux.cgnet.cgnet_program:
    name: mine
    source: files/mine.bpf.c
    cgroups: [machine.slice/web.service]

- name: Remove it from every cgroup
  linux.cgnet.cgnet_program:
    name: mine
    state: absent
"""

RETURN = r"""
actions:
  description: The plan, in its order. In check mode it was not carried out.
  returned: success
  type: list
  elements: dict
  sample: [{"action": "load", "programs": ["count"], "version": "0123456789abcdef-01234567"}]
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _module, _programs

SPEC = {
    "name": {"type": "str", "required": True},
    "source": {"type": "path"},
    "cgroups": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """The module's entry."""
    _module.reconcile(SPEC, _programs.prepare)


if __name__ == "__main__":
    main()
