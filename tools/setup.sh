# shellcheck shell=bash
# Brings a Debian 12 machine to where every make target works: packages by apt,
# the controller's tools in .venv. Does nothing, quickly, when all is there.
#
# Run as: bash tools/setup.sh [PACKAGE...]   (as root, or as a user who may use sudo)
# The packages are those that one target alone wants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
    # bpf/ to objects
    clang-16 llvm-16 libbpf-dev linux-libc-dev
    # loaded by the host side; tests on the build machine use it too
    libbpf1
    # the controller's tools
    python3 python3-venv ca-certificates openssh-client git shellcheck
    # guests: images and the machine to boot them
    qemu-system-x86 mmdebstrap debvm debian-archive-keyring e2fsprogs zstd cpio kmod uidmap
    "$@"
)
requirements=tools/requirements.txt
python=/usr/bin/python3
venv=.venv

say() { printf '==> set-up: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "root or sudo is needed for: $*" >&2
        return 1
    fi
}

# dpkg-query fails when it does not know a package: that is what we ask.
installed=$(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "${packages[@]}" \
    2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
    grep --quiet --line-regexp --fixed-strings "$package installed" <<<"$installed" ||
        missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "apt installs ${missing[*]}"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "${missing[@]}"
fi

# The tools are wanted as they are pinned, by the interpreter that is there now,
# in the directory that this tree is in now (a venv cannot be moved).
stamp=$venv/.stamp
wanted=$({ cat "$requirements"; "$python" --version; pwd; } | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    say "the controller's tools, into $venv"
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --disable-pip-version-check --requirement "$requirements"
    printf '%s\n' "$wanted" >"$stamp"
fi

# Python finds ansible_collections.linux.cgnet here; the link is this tree.
mkdir -p .build/ansible_collections/linux
ln -sfn ../../.. .build/ansible_collections/linux/cgnet
