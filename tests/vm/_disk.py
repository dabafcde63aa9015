"""The image of the systemd guest: an ext4 disk with its kernel, initrd and ssh key beside it.

It comes from debvm-create. debvm-run does not boot it: that takes KVM whenever /dev/kvm opens,
which hangs on some hosts, knows no snapshot, and stays in the foreground.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.vm._mirrors import apt_options
from tests.vm._recipes import Recipe, cached, run_builder

_PACKAGES = (
    "python3", "python3-pyroute2", "libbpf1", "iproute2", "dbus", "initramfs-tools", "zstd",
    "python3-apt",  # else Ansible's module fetches it, once in each guest
    # Raw senders and receivers, for molecule/raw_xmit.
    "nmap", "netsniff-ng", "iputils-ping", "tcpdump",
    # Containers, for molecule/podman.
    "podman", "crun",
    # Programs for tests/service/programs.py.
    "nginx-light", "iperf3", "openssh-client",
    # What writes down how to boot, for molecule/boot_line.
    "grub2-common",
    # What benchmarks/ compares with.
    "nftables",
)  # fmt: skip

# The drivers of the guest's few devices; an initrd with these alone is read in a tenth of the time.
_INITRD = """
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"
for module in virtio_pci virtio_blk ext4 virtio_net virtio_rng; do echo "$module"; done \\
  >"$1/usr/share/initramfs-tools/modules.d/guest"
"""

# What a guest of some minutes has no use for, and what would wait or write while it boots.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "man-db.timer", "getty@tty1.service",
    "serial-getty@ttyS0.service", "modprobe@drm.service", "modprobe@dm_mod.service",
    "modprobe@loop.service", "systemd-logind.service", "systemd-pstore.service",
    "systemd-journal-flush.service", "systemd-update-utmp.service", "systemd-binfmt.service",
    "dev-hugepages.mount", "podman.socket", "podman-auto-update.timer", "podman-restart.service",
    "podman.service", "podman-auto-update.service", "podman-clean-transient.service",
)  # fmt: skip

# The addresses are those of qemu's user network; no DHCP client has to start for them. Nor is udev
# waited for, which is given up after 90 s, as the initrd has loaded the driver.
_NETWORK = r"""[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip address add 10.0.2.15/24 dev eth0
ExecStart=/bin/ip link set eth0 up
ExecStart=/bin/ip route add default via 10.0.2.2
[Install]
WantedBy=multi-user.target
"""

_ZIPCACHE = Path(__file__).with_name("zipcache.py").read_text()

# 80-drivers.rules: else udev loads dozens of modules for what an emulated board has.
# .updated: else systemd rebuilds catalogs and the like on the first boot, which is every boot.
_SETTINGS = f"""
cat >"$1/etc/systemd/system/guest-network.service" <<'END'
{_NETWORK}END
systemctl --root="$1" enable guest-network.service
systemctl --root="$1" mask {" ".join(_MASKED)}
systemctl --root="$1" disable nginx.service iperf3.service
echo nameserver 10.0.2.3 >"$1/etc/resolv.conf"
mkdir -p "$1/etc/systemd/journald.conf.d" "$1/etc/systemd/system-generators"
printf '[Journal]\nStorage=volatile\n' >"$1/etc/systemd/journald.conf.d/guest.conf"
ln -s /dev/null "$1/etc/systemd/system-generators/systemd-ssh-generator"
ln -s /dev/null "$1/etc/udev/rules.d/80-drivers.rules"
rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"
cat >"$1/usr/lib/python3/dist-packages/zipcache.py" <<'END'
{_ZIPCACHE}END
echo import zipcache >"$1/usr/lib/python3/dist-packages/zipcache.pth"
touch -d tomorrow "$1/etc/.updated" "$1/var/.updated"
"""


def disk_image(suite: str) -> Path:
    """The directory with `disk.ext4`, `vmlinuz`, `initrd` and `key`; built where it lacks."""
    made_by = Path(__file__).read_text() + _ZIPCACHE
    return cached(Recipe.of("system", suite, _PACKAGES, made_by), _build)


def _build(recipe: Recipe, target: Path) -> None:
    key = target / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    disk = target / "disk.ext4"
    run_builder(
        target / "log", "debvm-create", "--output", str(disk), "--release", recipe.codename,
        "--hostname", "guest", "--sshkey", f"{key}.pub", "--size", "2G",
        "--skip", "kernel,autologin,packagelists,systemdnetwork",
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
