# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules' documentation shares."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes and requirements that every module has."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  platform:
    description: Target OS/families that can be operated against.
    platforms: linux
    support: full
requirements:
  - Linux 6.1 or later with cgroup v2, bpffs and BTF (tested on 6.1, 6.12 and 7.3)
  - Python 3.9 or later
  - libbpf 1.0 or later (the distribution's package, libbpf1 on Debian)
  - root privileges
"""

    # Modules that change the host, through an action plugin of the same name.
    CHANGING = r"""
options:
  _object:
    description:
      - What the controller has read of the object. Option internally used by the action plugin, not intended for use in a task.
    type: dict
  _object_path:
    description:
      - Where the object was put on the host. Option internally used by the action plugin, not intended for use in a task.
    type: path
attributes:
  diff_mode:
    support: full
    details:
      - Before and after are the policies and programs in the terms of the options, as YAML.
      - Where a policy stays and only its hooks were other than it needs, before names them as C(detached) and
        C(attached besides).
      - Before has also, under C(version ...), what of the pins is C(damaged) or C(not pinned), and, under C(id ... (gone\)), what a
        cgroup that was removed has left. The path that it had is not known any more.
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
notes:
  - What is compared is what the live kernel holds, never a file of state.
  - Everything is pinned below C(cgnet) in the host's bpffs. Nothing that is not pinned there is touched.
  - Where a program of others leaves no room, on the cgroup, above it, or on the LSM hooks of which one kernel has ten, the task
    fails before anything is changed and names it.
  - A task is applied as one. Where a call fails, or the kernel is not as declared afterwards, the host is returned to what it was
    before, and the error says so. What a run promises, and where that ends, is in C(docs/guarantees.md) of the collection.
  - Pins do not outlive a reboot. What was declared as permanent is applied again at boot; for the rest, run the play again.
  - Runs on one host wait for each other on C(/run/cgnet.lock).
"""
