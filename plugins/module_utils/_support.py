# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this kernel can enforce, and why not where it can't. Pure."""

from __future__ import annotations

from ansible_collections.linux.cgnet.plugins.module_utils._model import Facts, Program

_LSM = "lsm_cgroup/"


def missing(program: Program, facts: Facts) -> str:
    """What this host lacks to enforce a program, with the remedy; "" where nothing lacks.

    Without `bpf` among the active LSMs an lsm_cgroup program loads and attaches
    and is never run (seen on 6.1, 6.12 and 7.3), so loading proves nothing.
    """
    if not program.section.startswith(_LSM):
        return ""
    hook = program.section[len(_LSM) :]
    if not facts.lsm_cgroup:
        return (
            f"the hook {hook} needs lsm_cgroup: Linux >= 6.0 with CONFIG_BPF_LSM and "
            f"CONFIG_DEBUG_INFO_BTF; this host runs {facts.release}"
        )
    if facts.lsm is None:
        return (
            f"the hook {hook} needs the BPF LSM, and whether it is on can't be told: "
            "mount -t securityfs securityfs /sys/kernel/security"
        )
    if "bpf" not in facts.lsm:
        active = ",".join(facts.lsm)
        return (
            f'the hook {hook} needs "bpf" in /sys/kernel/security/lsm, which reads "{active}": '
            f'boot with "lsm={active.replace("capability,", "")},bpf" on the kernel\'s command line'
        )
    return ""


def loadable(programs: tuple[Program, ...], facts: Facts) -> tuple[Program, ...]:
    """The programs worth loading: a kernel without the BPF LSM may refuse even that."""
    return tuple(program for program in programs if not missing(program, facts))
