"""Licences and sources of all dependencies against deny.toml, where cargo-deny is not installed.

Exit 0: every dependency is from crates.io and under a licence that deny.toml allows.
"""

import json
import re
import subprocess
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression, licences):
    """An SPDX expression, or the old form with a slash; AND binds tighter than OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def either():
        nonlocal position
        value = both()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            value = both() or value
        return value

    def both():
        nonlocal position
        value = one()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            value = one() and value
        return value

    def one():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        if position < len(tokens) and tokens[position] == "WITH":
            token = f"{token} WITH {tokens[position + 1]}"
            position += 2
        return token in licences

    return either()


with open("deny.toml", "rb") as file:
    licences = set(tomllib.load(file)["licenses"]["allow"])
# Self-test: a check that cannot fail checks nothing.
assert allowed("(MIT OR Nope) AND ISC", {"MIT", "ISC"})
assert not allowed("MIT AND Nope", {"MIT"}) and not allowed("Nope WITH LLVM-exception", {"Nope"})

metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
)
faults = []
for package in metadata["packages"]:
    name = f"{package['name']} {package['version']}"
    if package["source"] not in (None, REGISTRY):
        faults.append(f"{name}: not from crates.io")
    if not allowed(package["license"] or "none", licences):
        faults.append(f"{name}: licence {package['license'] or 'not stated'} is not in deny.toml")
print("\n".join(faults) or f"{len(metadata['packages'])} packages, all from crates.io and allowed")
sys.exit(1 if faults else 0)
