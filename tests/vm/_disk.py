"""The image of the systemd guest: an ext4 disk with its kernel, initrd and ssh key beside it.

It comes from debvm-create. debvm-run does not boot it: that takes KVM whenever /dev/kvm opens,
which hangs on some hosts, knows no snapshot, and stays in the foreground.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.vm._mirrors import apt_options
from tests.vm._recipes import Recipe, cached, run_builder

_PACKAGES = ("python3", "libbpf1", "iproute2", "dbus", "initramfs-tools", "zstd")

# An initrd of the two drivers that reach the disk is read in a tenth of the time.
_INITRD = """
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/cgnet"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' >"$1/usr/share/initramfs-tools/modules.d/cgnet"
"""

# What a guest of some minutes has no use for, and what would wait or write while it boots.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "man-db.timer", "getty@tty1.service",
    "serial-getty@ttyS0.service", "systemd-networkd-wait-online.service", "systemd-pstore.service",
    "systemd-journal-flush.service", "systemd-update-utmp.service", "ldconfig.service",
    "systemd-binfmt.service", "sys-kernel-debug.mount", "dev-hugepages.mount",
)  # fmt: skip

_SETTINGS = f"""
for unit in {" ".join(_MASKED)}; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done
mkdir -p "$1/etc/systemd/journald.conf.d"
printf '[Journal]\\nStorage=volatile\\n' >"$1/etc/systemd/journald.conf.d/cgnet.conf"
rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"
"""


def disk_image(suite: str) -> Path:
    """The directory with `disk.ext4`, `vmlinuz`, `initrd` and `key`; built where it lacks."""
    return cached(Recipe.of("system", suite, _PACKAGES, Path(__file__).read_text()), _build)


def _build(recipe: Recipe, target: Path) -> None:
    key = target / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    disk = target / "disk.ext4"
    run_builder(
        target / "log", "debvm-create", "--output", str(disk), "--release", recipe.codename,
        "--hostname", "guest", "--sshkey", f"{key}.pub", "--size", "2G",
        "--skip", "kernel,autologin,packagelists",
        "--", f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in apt_options()),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")),
        f"--essential-hook={_INITRD}", f"--customize-hook={_SETTINGS}", *recipe.mirrors,
    )  # fmt: skip
    boot = target / "boot"
    subprocess.run(
        ["/sbin/debugfs", "-R", f"rdump /boot {target}", disk],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    next(boot.glob("vmlinuz-*")).rename(target / "vmlinuz")
    next(boot.glob("initrd.img-*")).rename(target / "initrd")
