# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_sockopts.py from the kernel's user-space headers.

    python3 -m tools.generate_sockopts [--check]

Headers name options, values and versions alike, so what is not an option is
left out by name here. A test runs `--check`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.plugin_utils._compile import CLANG, include_flags

OUTPUT = Path(__file__).parents[1] / "plugins/module_utils/_sockopts.py"

HEADERS = (
    "asm/socket.h", "linux/in.h", "linux/in6.h", "linux/tcp.h", "linux/udp.h",
    "linux/if_packet.h", "linux/netlink.h", "linux/sctp.h", "linux/if_xdp.h",
    "linux/tls.h", "linux/mptcp.h",
)  # fmt: skip

# Level → its number where no header has it, what its options are called, and
# what is called so without being an option of setsockopt() or getsockopt().
LEVELS = {
    "SOL_SOCKET": (None, "SO_(?!VM_)", "SO_SECURITY_|SO_(DETACH_BPF|GET_FILTER)$"),
    "SOL_IP": (None, "(IP|MCAST)_", r".*(PMTUDISC(_\w+)?|CLUDE)$|IP_(DEFAULT|MAX)_"),
    "SOL_TCP": (6, "TCP_", "TCP_(MD5SIG_(FLAG|MAX)|MSS_|REPAIR_O[NF]|ENCAP|RECEIVE_Z)"),
    "SOL_UDP": (17, "UDP_", "UDP_ENCAP_"),
    "SOL_IPV6": (None, "(IPV6|MCAST)_", r"IPV6_(FL_|FLOWINFO_[FP]|PMTUDISC_|PREFER_|PRIORITY_"
                 r"|RTHDR_|TLV_|ROUTER_ALERT_)|MCAST_\w+CLUDE$"),
    "SOL_SCTP": (132, "SCTP_", r".*(_MASK|_DENIED|_FAILED|_ASSOC)$|SCTP_(BINDX_|PR_SCTP"
                 r"|ENABLE_\w+_REQ|STREAM_RESET)|SCTP_DELAYED_(ACK|SACK)$"),
    "SOL_PACKET": (None, "PACKET_", r"PACKET_(FANOUT_(?!DATA$)|MR_|BROADCAST|FASTROUTE|HOST$|KERNEL"
                   r"|LOOPBACK|MULTICAST|OTHERHOST|OUTGOING|USER)"),
    "SOL_NETLINK": (None, r"NETLINK_(\w+_MEMBERSHIPS?|PKTINFO|BROADCAST_ERROR|NO_ENOBUFS"
                    r"|[RT]X_RING|LISTEN_ALL_NSID|\w+_ACK|GET_STRICT_CHK)$", "$^"),
    "SOL_TLS": (None, "TLS_(TX|RX)", "$^"),
    "SOL_XDP": (None, "XDP_(?!COPY|PGOFF|RING|SHARED|ZERO|USE|OPTIONS_|UMEM_(PGOFF|UNAL))", "$^"),
    "SOL_MPTCP": (None, r"MPTCP_(INFO|TCPINFO|SUBFLOW_ADDRS)$", "$^"),
}  # fmt: skip


def macros() -> dict[str, int]:
    """Every macro of the headers that stands for a number, by name."""
    source = "".join(f"#include <{header}>\n" for header in HEADERS)
    command = [CLANG, "-E", "-dM", *include_flags(), "-"]
    text = subprocess.run(command, input=source, text=True, capture_output=True, check=True).stdout
    raw = dict(re.findall(r"^#define ([A-Z]\w*) (\S+)$", text, re.MULTILINE))
    found = {}
    for name, value in raw.items():
        while value in raw and raw[value] != value:
            value = raw[value]
        if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", value):
            found[name] = int(value, 0)
    return found


def render() -> str:
    """The module's text."""
    known = macros()
    lines = [
        "# Copyright (c) 2026, the cgnet contributors",
        "# GNU General Public License v3.0+ "
        "(see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
        "# SPDX-License-Identifier: GPL-3.0-or-later",
        '"""Socket option levels and names with their numbers (asm-generic).',
        "",
        "Generated from the kernel's headers by tools/generate_sockopts.py. Do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "LEVELS: dict[str, int] = {",
    ]
    numbers = {level: known[level] if n is None else n for level, (n, _w, _o) in LEVELS.items()}
    lines += [f'    "{level}": {number},' for level, number in numbers.items()]
    lines += ["}", "", "OPTIONS: dict[int, dict[str, int]] = {"]
    for level, (_number, wanted, unwanted) in LEVELS.items():
        lines.append(f"    {numbers[level]}: {{  # {level}")
        for name in sorted(known):
            if re.match(wanted, name) and not re.match(unwanted, name):
                lines.append(f'        "{name}": {known[name]},')
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def main() -> int:
    """Write the file, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = render()
    if not parser.parse_args().check:
        OUTPUT.write_text(text)
        return 0
    if OUTPUT.read_text() == text:
        return 0
    print(f"{OUTPUT.name} is not what the headers give: python3 -m tools.generate_sockopts")
    return 1


if __name__ == "__main__":
    sys.exit(main())
