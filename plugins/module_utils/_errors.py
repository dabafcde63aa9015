# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, and what to do about it.

CgnetError
├── InputError        what the user wrote is not possible; nothing was changed
├── HostError         the host lacks something that everything here needs
├── UnsupportedError  this kernel can't enforce a declared control
├── ConflictError     programs of others stand in the way; nothing was changed
├── ObjectError       a BPF object that can't be used
├── KernelError       the kernel refused a call; carries errno
├── DeadlineError     a call that does not return, or a lock that others hold for too long
├── KilledError       the process that did the work was killed
└── VerifyError       after applying, the kernel still isn't as declared

Every message says what, where and the remedy. Nothing here speaks Ansible.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import Any


def shown(value: object) -> str:
    """A value as an error shows it: at most 200 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out thousands of digits
        text = "a number of thousands of digits"
    except RecursionError:
        text = "a list in a list in a list without end"
    return text if len(text) <= 200 else f"{text[:200]}…"


class CgnetError(Exception):
    """The root: catch this to catch all of ours and nothing else."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, an error is its message and its attributes, whatever made them."""
        return _unpickled, (type(self), self.args, dict(vars(self)))


def _unpickled(kind: type[CgnetError], args: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(attributes)
    return error


class InputError(CgnetError):
    """What the user wrote: the field, its value, what is allowed, the remedy."""

    def __init__(self, field: str, value: object, allowed: str, remedy: str = "") -> None:
        self.field = field
        self.value = value
        message = f"{field}: {shown(value)} is not possible: {allowed}."
        if remedy:
            message += f" {remedy}" if remedy.endswith("?") else f" {remedy}."
        super().__init__(message)


class HostError(CgnetError):
    """The host: what is missing and how to get it."""

    def __init__(self, missing: str, remedy: str) -> None:
        super().__init__(f"{missing}. {remedy}.")


class UnsupportedError(CgnetError):
    """A declared control that can't be enforced here."""

    def __init__(self, cgroup: str, control: str, reason: str, remedy: str) -> None:
        super().__init__(
            f"{cgroup}: {control} can't be enforced on this host: {reason}. "
            f"Nothing was changed. {remedy}."
        )


class ConflictError(CgnetError):
    """Programs of others: what of ours can't be attached, because of which, and the remedy."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(f"{what} can't be attached: {reason}. Nothing was changed. {remedy}.")


class ObjectError(CgnetError):
    """A BPF object that can't be used: what is wrong with it and the remedy."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        super().__init__(f"object {name}: {problem}. {remedy}.")


class KernelError(CgnetError):
    """A call that the kernel refused.

    `errno` is the kernel's; `log` is the verifier's, or "".
    """

    def __init__(self, call: str, errno: int, remedy: str = "", log: str = "") -> None:
        self.errno = errno
        self.log = log
        name = _errno.errorcode.get(errno, str(errno))
        message = f"{call}: {name} ({os.strerror(errno)})."
        if remedy:
            message += f" {remedy}."
        if log:
            message += "\nThe verifier's last words:\n" + "\n".join(log.splitlines()[-12:])
        super().__init__(message)


class DeadlineError(CgnetError):
    """A call that has not returned for too long: which, how it stands now, and the remedy."""

    def __init__(self, call: str, seconds: float, state: str, remedy: str) -> None:
        super().__init__(f"{call} has not returned for {seconds:.0f} s: {state}. {remedy}.")


class KilledError(CgnetError):
    """The process that did the work: by what it was killed, and what it did then."""

    def __init__(self, pid: int, killer: str, doing: str) -> None:
        super().__init__(
            f"process {pid}, which did the work, was ended by {killer} during {doing}. "
            "The kernel's log (dmesg) tells whether memory was short. Run the task again, "
            "which goes on from where it was."
        )


class VerifyError(CgnetError):
    """After applying, the kernel still isn't as declared."""
