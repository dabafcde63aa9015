#!/usr/bin/python
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of HTB on an interface."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgnet_htb
short_description: Give an interface the classes of HTB that priorities stand for
version_added: 0.1.0
description:
  - HTB, the queueing discipline of tc-htb(8), puts a packet into the class that its priority names. So
    O(linux.cgnet.cgnet_policy#module:policies[].priority=1:10) with a class C(1:10) here gives the tasks of a cgroup their
    share of an interface, and their bound.
  - What is there is compared with what is declared, in the kernel's own units. A class whose rate changes is changed in
    place, and goes on counting.
  - A tree of that O(handle) is the declared one, whoever has made it. Another discipline of somebody else stays, and the task
    fails. So an interface takes a tree only where the kernel's own default is, and has that again with O(state=absent).
author:
  - cgnet contributors (!UNKNOWN)
requirements:
  - python3-pyroute2, of the distribution, on the host
extends_documentation_fragment:
  - linux.cgnet.attributes
  - linux.cgnet.attributes.changing
options:
  interface:
    description:
      - The interface that sends, such as V(eth0).
    type: str
    required: true
  handle:
    description:
      - The handle of the tree, a hexadecimal number and a colon. It is the major number of its classes, and of the priorities
        that name them.
    type: str
    default: "1:"
  default:
    description:
      - The class of packets whose priority names none, as V(1:20) or V(:20).
      - Without it they pass unshaped, before all others.
      - HTB can't change it in place.
    type: str
  r2q:
    description:
      - A class's rate is divided by it to get its O(classes[].quantum). HTB can't change it in place.
    type: int
    default: 10
  per_queue:
    description:
      - With V(true), each transmit queue of the interface has a tree of its own, below C(mq), so that queues don't wait for
        each other. A rate is then that of one queue.
      - The trees have the handles from O(handle) on. A priority names the class of the first one, and means that of
        whichever queue the packet goes to.
    type: bool
    default: false
  classes:
    description:
      - The classes. Others that are there stay, unless O(purge=true).
    type: list
    elements: dict
    suboptions:
      classid:
        description:
          - Major and minor number, in hexadecimal, as V(1:10). Write it in quotes, since YAML makes a number of it.
        type: str
        required: true
      parent:
        description:
          - The class from which it borrows, at most up to the ceil of each. Without it, none. HTB can't change it.
        type: str
      rate:
        description:
          - What it is sure to get, as tc writes it, such as V(20mbit) or V(1gbit). C(bit) is a bit a second, C(bps) a byte.
        type: str
        required: true
      ceil:
        description:
          - What it gets at most, by borrowing. Its rate unless it is given.
        type: str
      burst:
        description:
          - How many bytes it may send at once at the ceil's speed, such as V(15k).
          - Unless it is given, that of a packet.
        type: str
      cburst:
        description:
          - How many bytes it may send at once at the link's speed.
        type: str
      prio:
        description:
          - Among classes that borrow, the lowest goes first.
        type: int
        default: 0
      quantum:
        description:
          - How many bytes it may borrow before the next one's turn. Unless it is given, its rate divided by O(r2q),
            from 1000 to 200000.
        type: str
      cgroups:
        description:
          - Cgroups whose packets the class takes by a filter that looks at the sender's cgroup, so that they need no priority.
            A path below the mount of cgroup v2, such as V(system.slice/nginx.service), stands for what is below it too, and
            the nearest that is named decides.
          - A priority that names a class goes first.
          - A service that is started anew has another cgroup, which is not named before the next run. Its slice lasts.
        type: list
        elements: str
      leaf:
        description:
          - The discipline in the class, for the order of its packets. A class with others below it has none.
          - An option that is not given is the kernel's to choose.
        type: dict
        suboptions:
          kind:
            description:
              - Its name.
            type: str
            choices: [fq_codel, fq, sfq, pfifo]
            default: fq_codel
          limit:
            description:
              - How many packets it holds (V(fq_codel), V(pfifo)).
            type: int
          flows:
            description:
              - How many queues it has (V(fq_codel)). It can't be changed in place.
            type: int
          quantum:
            description:
              - How many bytes a flow sends in its turn (V(fq_codel)).
            type: int
          target:
            description:
              - How many microseconds packets may wait (V(fq_codel)).
            type: int
          interval:
            description:
              - For how many microseconds they may wait longer (V(fq_codel)).
            type: int
          ecn:
            description:
              - Whether packets are marked where they can be, and not dropped (V(fq_codel)).
            type: bool
  purge:
    description:
      - With V(true), classes and filters of the tree that are not declared go.
    type: bool
    default: false
  state:
    description:
      - With V(absent), the tree of that handle goes, and the interface has the kernel's default again.
    type: str
    choices: [present, absent]
    default: present
notes:
  - A packet that comes out of another network namespace has lost its priority. It is classified there, or not at all.
seealso:
  - module: linux.cgnet.cgnet_policy
  - module: linux.cgnet.cgnet_info
"""

EXAMPLES = r"""
- name: Give web servers 20 of 100 megabits, and all that others leave
  linux.cgnet.cgnet_htb:
    interface: eth0
    default: "1:20"
    classes:
      - {classid: "1:1", rate: 100mbit}
      - {classid: "1:10", parent: "1:1", rate: 20mbit, ceil: 100mbit}
      - {classid: "1:20", parent: "1:1", rate: 80mbit, ceil: 100mbit}

- name: Let the interface be as it was
  linux.cgnet.cgnet_htb:
    interface: eth0
    state: absent
"""

RETURN = r"""
actions:
  description: The plan, in its order. In check mode it was not carried out.
  returned: success
  type: list
  elements: dict
  sample: [{"action": "change", "class": "1:10"}]
"""

from ansible_collections.linux.cgnet.plugins.module_utils import _module, _shaping

_NUMBER = {"type": "int"}
_TEXT = {"type": "str"}
_LEAF = {
    "kind": {"type": "str", "choices": ["fq_codel", "fq", "sfq", "pfifo"], "default": "fq_codel"},
    "limit": _NUMBER,
    "flows": _NUMBER,
    "quantum": _NUMBER,
    "target": _NUMBER,
    "interval": _NUMBER,
    "ecn": {"type": "bool"},
}
_CLASS = {
    "classid": {"type": "str", "required": True},
    "parent": _TEXT,
    "rate": {"type": "str", "required": True},
    "ceil": _TEXT,
    "burst": _TEXT,
    "cburst": _TEXT,
    "prio": {"type": "int", "default": 0},
    "quantum": _TEXT,
    "cgroups": {"type": "list", "elements": "str"},
    "leaf": {"type": "dict", "options": _LEAF},
}
SPEC = {
    "interface": {"type": "str", "required": True},
    "handle": {"type": "str", "default": "1:"},
    "default": _TEXT,
    "r2q": {"type": "int", "default": 10},
    "per_queue": {"type": "bool", "default": False},
    "classes": {"type": "list", "elements": "dict", "options": _CLASS},
    "purge": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """The module's entry."""
    _module.run(SPEC, _shaping.reconcile)


if __name__ == "__main__":
    main()
