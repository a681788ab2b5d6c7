"""The packages installed on a Debian or Ubuntu machine as packages.csv.

    python packages.py packages.csv

Reads dpkg's own database, /var/lib/dpkg/status (--status for another one).
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path

COLUMNS = ("name", "version", "section", "priority", "maintainer", "source", "installed size", "dependency")


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The fields of each package; the continuation lines of a field are left out."""
    for block in re.split(r"\n{2,}", text.strip()):
        fields = (line.partition(":") for line in block.splitlines() if not line.startswith((" ", "\t")))
        yield {name: value.strip() for name, _, value in fields}


def row(package: dict[str, str]) -> tuple[str, ...]:
    """One package's cells.

    A source that is not named has the package's own name. The dependency is the first, without version and
    architecture, and of alternatives the first. A maintainer goes without the address.
    """
    depends = package.get("Depends") or package.get("Pre-Depends", "")
    return (
        package["Package"],
        package.get("Version", ""),
        package.get("Section", ""),
        package.get("Priority", ""),
        re.sub(r"\s*<.*", "", package.get("Maintainer", "")).strip('"'),
        package.get("Source", package["Package"]).split(" ")[0],
        package.get("Installed-Size", ""),
        re.split(r"[\s,|(:\[]", depends, maxsplit=1)[0],
    )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--status", type=Path, default=Path("/var/lib/dpkg/status"))
    options = parser.parse_args()
    packages = paragraphs(options.status.read_text(encoding="utf-8"))
    rows = [row(package) for package in packages if package.get("Status", "").endswith(" installed")]
    with options.out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *sorted(rows)])


if __name__ == "__main__":
    main()
