"""What the harness says when it can't go on."""

from __future__ import annotations


class VmError(Exception):
    """A guest or an image can't be had; the text says what is missing and the remedy."""
