# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes of programs that know nothing of a policy, in frontend.slice.

    programs.py CONTROL     prints it as JSON: program -> outcome

An outcome is "ok", the name of the errno that a program complains of, even where it goes on, or
all that it said. That of a packet is the class, as tc writes it, that it went to.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SLICE = "frontend.slice"
AF21, EF = "0x48", "0xb8"
# To whom iperf3 and ssh talk. Not one that a policy under test speaks of.
IPERF3, SSHD = 5201, 2222
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
NGINX = """
daemon off; master_process off; pid none; error_log stderr;
events {{}}
http {{ access_log off; server {{ {listens} location / {{ return 200 "it works"; }} }} }}
"""


def held(*command: str) -> list[str]:
    """The command that runs another one in the slice, from its first system call on."""
    return ["systemd-run", "--quiet", "--scope", f"--slice={SLICE}", "--", *command]


def complaint(said: str) -> str | None:
    """The errno of a message. Programs name it as strerror() does."""
    for name in ("EPERM", "EAFNOSUPPORT", "EACCES", "ECONNREFUSED"):
        if os.strerror(getattr(errno, name)) in said:
            return name
    return None


def run(*command: str) -> str:
    """What comes of a program that ends."""
    done = subprocess.run(
        held("timeout", "60", *command), check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    found = complaint(done.stdout)
    return found or ("ok" if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}")


@contextlib.contextmanager
def serving(command: list[str], port: int) -> Iterator[str]:
    """A server, for as long as the block runs; and what came of its start."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        ) as server,
    ):
        end = time.monotonic() + 60
        while server.poll() is None and not listens(port):
            assert time.monotonic() < end, f"{command} does not listen"
            time.sleep(0.05)
        log.seek(0)
        said = log.read()
        try:
            yield "ok" if server.poll() is None else complaint(said) or said
        finally:
            server.terminate()


def listens(port: int) -> bool:
    """Whether a socket listens on the port of every address of IPv6; asks no server."""
    return f":{port:04X} {'0' * 32}:0000 0A " in Path("/proc/net/tcp6").read_text(encoding="ascii")


def ping(*options: str) -> str:
    """One echo of this host's own."""
    return run("ping", "-c", "1", *options)


def iperf3(*options: str) -> str:
    """Some packets to a server outside of the slice."""
    with serving(["iperf3", "--server", "--port", str(IPERF3)], IPERF3) as start:
        assert start == "ok", start
        return run("iperf3", "--port", str(IPERF3), "--bytes", "100K", "--client", *options)


def ssh(marks: str) -> str:
    """A session with a server outside of the slice."""
    with tempfile.TemporaryDirectory() as folder:
        key = f"{folder}/key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        sshd = [
            "/usr/sbin/sshd", "-D", "-f", "/dev/null", "-h", key, "-p", str(SSHD),
            "-o", f"AuthorizedKeysFile={key}.pub", "-o", "StrictModes=no", "-o", "PidFile=none",
        ]  # fmt: skip
        with serving(sshd, SSHD) as start:
            assert start == "ok", start
            return run(
                "ssh", "-F", "none", "-i", key, "-p", str(SSHD), "-o", f"IPQoS={marks}",
                "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no",
                "-o", f"UserKnownHostsFile={folder}/known", "root@::1", "true",
            )  # fmt: skip


def nginx(listens: str, port: int, asked: str | None = None) -> str:
    """A web server in the slice: what came of its start, or of asking it at an address."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as config:
        config.write(NGINX.format(listens=listens))
        config.flush()
        with serving(held("nginx", "-c", config.name, "-e", "stderr"), port) as start:
            if start != "ok" or asked is None:
                return start
            return fetched(asked, port)


def fetched(address: str, port: int) -> str:
    """What a client outside of the slice gets."""
    try:
        with socket.create_connection((address, port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with client.makefile(encoding="ascii") as answer:
                text = answer.read()
        return "ok" if text.endswith("it works") else text
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def listener(port: int) -> str:
    """A server in the slice: what came of its start."""
    with serving(held("iperf3", "--server", "--port", str(port)), port) as start:
        return start


def class_of(program: Callable[[], str]) -> str:
    """The class of HTB that most of a program's bytes went to."""
    tc = ["tc", "-statistics", "class", "show", "dev", "lo"]
    for line in (
        "qdisc add dev lo root handle 1: htb default 1",
        "class add dev lo parent 1: classid 1:1 htb rate 1gbit",
        "class add dev lo parent 1: classid 1:10 htb rate 1gbit",
    ):
        subprocess.run(["tc", *line.split()], check=True)
    try:
        said = program()
        shown = subprocess.run(tc, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)
    sent = re.findall(r"class htb (\S+).*?Sent (\d+) bytes", shown, re.DOTALL)
    return max(sent, key=lambda each: int(each[1]))[0] if said == "ok" else said


def priority() -> dict[str, str]:
    """The class of what programs send."""
    return {
        "iperf3, TCP": class_of(lambda: iperf3("::1")),
        "iperf3, UDP": class_of(lambda: iperf3("::1", "--udp")),
        "iperf3, IPv4": class_of(lambda: iperf3("127.0.0.1")),
        "iperf3 --tos": class_of(lambda: iperf3("::1", "--tos", AF21)),
    }


def tos() -> dict[str, str]:
    """What marks programs may set."""
    return {
        "iperf3": iperf3("::1"),
        "iperf3 --tos af21": iperf3("::1", "--tos", AF21),
        "iperf3 --tos ef": iperf3("::1", "--tos", EF),
        "iperf3 --tos ef, IPv4": iperf3("127.0.0.1", "--tos", EF),
        "ssh, IPQoS af21": ssh("af21"),
        "ssh, IPQoS ef": ssh("ef"),
        "ssh, IPQoS none": ssh("none"),
        "ping -Q ef": ping("-Q", EF, "127.0.0.1"),
    }


def bind_ports() -> dict[str, str]:
    """Where servers may listen."""
    return {
        "nginx, 80": nginx("listen [::]:80;", 80, "::1"),
        "nginx, 8080": nginx("listen [::]:8080;", 8080, "::1"),
        "nginx, 9090": nginx("listen [::]:9090;", 9090, "::1"),
        "iperf3, a port of the kernel's choice": iperf3("::1"),
        "iperf3 --server, 8099": listener(8099),
        "iperf3 --server, 8100": listener(8100),
    }


def ipv4() -> dict[str, str]:
    """What there is for programs that speak IPv6, IPv4, or both."""
    six, both = "listen [::]:8080 ipv6only=on;", "listen 8080; listen [::]:8080;"
    return {
        "nginx on IPv6, asked": nginx(six, 8080, "::1"),
        "nginx on IPv6, asked on IPv4": nginx(six, 8080, "127.0.0.1"),
        "nginx on both": nginx(both, 8080, "127.0.0.1"),
        "ping ::1": ping("::1"),
        "ping -4 127.0.0.1": ping("-4", "127.0.0.1"),
        "iperf3 ::1": iperf3("::1"),
        "iperf3 127.0.0.1": iperf3("127.0.0.1"),
    }


def sockopts() -> dict[str, str]:
    """Which options programs may set."""
    return {
        "ping": ping("::1"),
        "ping -m, by SO_MARK": ping("-m", "7", "::1"),
        "ping -I, by SO_BINDTODEVICE": ping("-I", "lo", "::1"),
        "iperf3, by a dozen others": iperf3("::1", "--set-mss", "1000", "--window", "64K"),
    }


def audit() -> dict[str, str]:
    """What is told and not refused."""
    return {"iperf3 --tos ef": iperf3("::1", "--tos", EF), "ssh, IPQoS ef": ssh("ef")}


CONTROLS = {each.__name__: each for each in (priority, tos, bind_ports, ipv4, sockopts, audit)}

if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in CONTROLS]:
        sys.exit(__doc__)
    print(json.dumps(CONTROLS[sys.argv[1]]()))
