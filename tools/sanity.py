"""ansible-test sanity over a copy of the tree, with the ansible-core that runs this file.

    python -m tools.sanity [--tree COPY] [--home DIRECTORY] [--junit DIRECTORY] \
        [ansible-test's own arguments]

ansible-test wants a path that ends in ansible_collections/<namespace>/<name>, and looks at
all that it finds there, so it gets a copy without .venv and .build. It runs here, without
containers (--local): what its tests need comes from the package index that pip is set up
for. The user's own home directory stays as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tools import _pip
from tools._tree import BUILD, copy_tree

# ansible-test would download pip's bootstrap script from a host of its own, which many
# networks do not reach; the index that pip uses is all that is needed. It is called with
# the packages to install and, since it is not meant for pip, two options that pip lacks.
BOOTSTRAP = """\
import subprocess
import sys

arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *arguments]).returncode)
"""


def main() -> int:
    """Return ansible-test's exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", type=Path, help="an existing copy of the tree")
    parser.add_argument("--home", type=Path, default=BUILD / "home")
    parser.add_argument("--junit", type=Path, default=BUILD / "junit" / "sanity")
    options, passed_on = parser.parse_known_args()
    tree = options.tree or make_tree()
    options.home.mkdir(parents=True, exist_ok=True)
    if options.tree is None:  # who hands in a tree has prepared the home directory too
        _pip.write_config(options.home)
    put_bootstrap(options.home)
    environment = _pip.environment(options.home)
    # The tools beside this interpreter are the ones of its ansible-core.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"ansible-test sanity --local: Python {version}, no containers", flush=True)
    command = ["ansible-test", "sanity", "--local", "--python", version, "--color", "no", "--junit"]
    status = subprocess.run(
        [*command, *passed_on], cwd=tree, env=environment, check=False
    ).returncode
    options.junit.mkdir(parents=True, exist_ok=True)
    for path in (tree / "tests" / "output" / "junit").glob("*.xml"):
        shutil.copy(path, options.junit)
    return status


def make_tree() -> Path:
    """A copy of the tree that ansible-test takes for a repository of its own.

    Otherwise it goes up to this repository, which ignores all of the copy.
    """
    tree = copy_tree(BUILD / "sanity")
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    return tree


def put_bootstrap(home: Path) -> None:
    """Put BOOTSTRAP where this ansible-test looks before it downloads.

    The path is read from ansible-test's own source. Raises LookupError where that no longer
    says it in the way that we know.
    """
    spec = find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"{sys.executable} has no ansible-test: run `make setup`")
    package = Path(spec.submodule_search_locations[0])
    installer = (package / "_util/target/setup/requirements.py").read_text(encoding="utf-8")
    versions = (package / "_internal/python_requirements.py").read_text(encoding="utf-8")
    path = re.search(r"expanduser\('~/([^']*%s[^']*)'", installer)
    version = re.search(r"default_packages = dict\(\s*pip='([0-9.]+)'", versions)
    if path is None or version is None:
        raise LookupError(f"{package}: where it keeps pip's bootstrap script is not found")
    script = home / path[1].replace("%s", version[1].replace(".", "_"))
    if not script.exists():
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(BOOTSTRAP, encoding="utf-8")


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
