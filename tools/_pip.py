"""The machine's own settings for pip, handed on to places that do not see them.

A home directory of our own hides the user's pip.conf, ansible-test hides the PIP_ variables,
and a chroot hides both, as well as the files that they name.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

# Certificates and proxies reach Python, pip and requests through these.
PASSED_ON = re.compile(
    r"SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(https?|no|all)_proxy",
    re.IGNORECASE,
)


def settings() -> dict[str, dict[str, str]]:
    """Section -> option -> value, as pip itself reads its files and PIP_ variables."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=True, text=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    sections: dict[str, dict[str, str]] = {"global": {}}
    for line in listing.splitlines():
        name, value = line.split("=", 1)
        # ":env:.find-links" is a PIP_ variable. It goes before the files, which are listed
        # after it or before it as the names happen to sort.
        section, option = name.rsplit(".", 1)
        if section == ":env:":
            for others in sections.values():
                others.pop(option, None)
            sections["global"][option] = ast.literal_eval(value)
        elif f":env:.{option}=" not in listing:
            sections.setdefault(section, {})[option] = ast.literal_eval(value)
    return sections


def write_config(home: Path) -> None:
    """Write the settings as `home`/.config/pip/pip.conf."""
    config = configparser.RawConfigParser()
    config.read_dict(settings())
    path = home / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        config.write(file)


def environment(home: Path) -> dict[str, str]:
    """A small environment in which pip works as it does outside, with `home` as its home."""
    passed_on = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **passed_on,
    }


def named_paths() -> list[Path]:
    """The files and directories that exist and that the settings and the environment name.

    An index in a directory counts with what stands beside it: its pages link there.
    """
    values = [value for options in settings().values() for value in options.values()]
    values += environment(Path("/")).values()
    words = {word for value in values for word in value.split() if not word.startswith("/usr")}
    paths = {Path(urlsplit(word).path) for word in words if re.match(r"(file:/)?/", word)}
    paths = {path.parent if path.name == "simple" else path for path in paths}
    return sorted(path for path in paths if path != Path("/") and path.exists())
