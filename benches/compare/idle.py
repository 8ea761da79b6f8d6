"""Memory of connections that have been used once and then say nothing: resident bytes of a fresh
contender with them, less without, by their number."""

import sys
import time

from lab import Held

# Connections before, so that what is there once is not counted.
WARM = 64
# Longer than a connection is idle before somebody may give back what it kept for it.
SETTLE_S = 5
AIMS_KIB = {"plain": 4, "TLS": 8}


def run(by_name, names, issued, options, place):
    lines = [
        f"| {options.idle:,} idle connections, KiB each | " + " | ".join(names) + " | aim | |",
        "|---" * (len(names) + 3) + "|",
    ]
    for what, transport in (("plain", "http"), ("TLS", "tls")):
        found = {name: held(by_name[name], issued, options, place, transport) for name in names}
        met = "yes" if found.get("portcullis", 0) <= AIMS_KIB[what] else "**no**"
        cells = " | ".join(f"{found[name]:.1f}" for name in names)
        lines.append(f"| {what} | {cells} | ≤ {AIMS_KIB[what]} | {met} |")
    return "\n".join(lines)


def held(contender, issued, options, place, transport):
    """KiB a connection, of a process of its own."""
    directory = place.directory / f"idle-{contender.name}-{transport}"
    directory.mkdir(mode=0o755)
    started = contender(directory, place, issued, options)
    try:
        address = started.address(transport)
        wanted = {"address": address, "kind": "http", "certificate": place.chain if transport == "tls" else None}
        warm = Held(place.load, options.load_core, count=WARM, **wanted)
        time.sleep(SETTLE_S)
        before = started.resident()
        crowd = Held(place.load, options.load_core, count=options.idle, **wanted)
        time.sleep(SETTLE_S)
        kib = (started.resident() - before) / options.idle / 1024
        print(f"  idle {transport} {contender.name:10} {kib:6.2f} KiB", file=sys.stderr)
        crowd.stop()
        warm.stop()
        return kib
    finally:
        started.stop()
