#!/bin/sh
# The first process of the initramfs guest. Runs /cgnet/job and hands its exit code to the host.
# Serial ports: ttyS0 the kernel's console, ttyS1 the command's output, ttyS2 our report.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8

# / is in memory already, so /run and /tmp need no file system of their own.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
# favordynmods: else a task waits for a grace period of RCU, 15 ms, to enter a cgroup.
mount -t cgroup2 -o favordynmods cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
chmod 1777 /tmp # a file added to it made it anew
ip link set lo up

stty -F /dev/ttyS1 raw
stty -F /dev/ttyS2 raw
exec </dev/null >/dev/ttyS1 2>&1 9>/dev/ttyS2
echo "ready $(uname -r)" >&9

sh /cgnet/job/command
code=$?

# BPF tests that make the kernel warn should be seen to: 512 is TAINT_WARN.
if [ $(($(cat /proc/sys/kernel/tainted) & 512)) -ne 0 ]; then
    echo 'The kernel warned while the command ran:'
    dmesg --level=emerg,alert,crit,err,warn | tail -n 60
fi
while read -r file; do
    if [ -f "$file" ]; then
        echo "file $(stat -c %s "$file") $file" >&9
        cat "$file" >&9
    else
        echo "missing $file" >&9
    fi
done </cgnet/job/fetch
stty -F /dev/ttyS1 raw # returns when the output has left
echo "exit $code" >&9
stty -F /dev/ttyS2 raw
# Reboots at once; qemu runs with -no-reboot.
echo b >/proc/sysrq-trigger
