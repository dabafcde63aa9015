"""Package sources and apt options of this machine, for the Debian suites of the guests."""

from __future__ import annotations

import os
import subprocess

from tests.vm._errors import VmError

# A Debian machine's own suites, whatever name its sources give them.
_DEBIAN = {
    "bullseye", "bookworm", "trixie", "forky", "sid",
    "oldoldstable", "oldstable", "stable", "testing", "unstable",
}  # fmt: skip
_APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until")


def mirror_lines(codename: str, backports: bool) -> list[str]:
    """One-line apt sources for `codename`, on the mirrors that this machine uses.

    CGNET_DEBIAN_MIRROR and CGNET_DEBIAN_SECURITY_MIRROR go before apt's configuration.
    Raises VmError where neither names a Debian mirror.
    """
    main, security = _from_apt()
    main = os.environ.get("CGNET_DEBIAN_MIRROR", main)
    security = os.environ.get("CGNET_DEBIAN_SECURITY_MIRROR", security)
    if not main:
        raise VmError(
            "this machine's apt configuration names no Debian mirror; "
            "set CGNET_DEBIAN_MIRROR to the URI of one"
        )
    suites = [codename, f"{codename}-updates"] + [f"{codename}-backports"] * backports
    lines = [f"deb {main} {suite} main" for suite in suites]
    if security:
        lines.append(f"deb {security} {codename}-security main")
    return lines


def _from_apt() -> tuple[str, str]:
    """The URIs of the main and of the security archive; empty where there is none."""
    listing = _output("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(CREATED_BY)")
    main = security = ""
    for line in listing.splitlines():
        site, release, created_by = line.split(" ")
        suite, _dash, pocket = release.replace("/", "-").partition("-")
        if created_by != "Packages" or suite not in _DEBIAN:
            continue
        if pocket == "security":
            security = security or site
        elif pocket in ("", "updates"):
            main = main or site
    return main, security


def apt_options() -> list[str]:
    """This machine's apt settings about proxies, certificates and validity, as apt.conf lines."""
    lines = _output("apt-config", "dump").splitlines()
    return [line for line in lines if line.startswith(_APT_OPTIONS) and not line.endswith('"";')]


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    except FileNotFoundError as error:
        raise VmError(f"{command[0]} is not here: images are built on Debian hosts") from error
