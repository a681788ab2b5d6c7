"""The time zones and countries of the tz database as zones.csv and countries.csv.

    python zones.py FOLDER

Reads zone.tab and iso3166.tab of the system, of the Python package tzdata, or of --tables.
"""

from __future__ import annotations

import argparse
import csv
import importlib.resources
import importlib.util
import math
import re
import zoneinfo
from datetime import datetime
from pathlib import Path

ZONE_COLUMNS = ("zone", "country", "region", "city", "utc offset", "latitude", "nearest foreign zone")
COUNTRY_COLUMNS = ("country", "code", "main zone", "northernmost zone", "zone count")
Place = tuple[float, float]
"""Latitude and longitude in degrees, north and east positive."""


def find_tables() -> Path:
    """The folder of the tz database's tables."""
    folders = [Path(folder) for folder in zoneinfo.TZPATH]
    if importlib.util.find_spec("tzdata"):
        folders.append(Path(str(importlib.resources.files("tzdata") / "zoneinfo")))
    for folder in folders:
        if (folder / "zone.tab").is_file() and (folder / "iso3166.tab").is_file():
            return folder
    raise SystemExit("No zone.tab and iso3166.tab here: install tzdata, or give their folder with --tables.")


def read_tab(path: Path) -> list[list[str]]:
    """The rows of a .tab file without its comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def degrees(coordinates: str) -> Place:
    """ISO 6709 as the tz database writes it, ±DDMM[SS]±DDDMM[SS]."""

    def one(text: str, width: int) -> float:
        sign, digits = (-1 if text[0] == "-" else 1), text[1:]
        return sign * (int(digits[:width]) + int(digits[width : width + 2]) / 60 + int(digits[width + 2 :] or 0) / 3600)

    latitude, longitude = re.findall(r"[+-]\d+", coordinates)
    return one(latitude, 2), one(longitude, 3)


def angle(a: Place, b: Place) -> float:
    """The great-circle distance of two places in radians (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, place)) for place in (a, b))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * math.asin(min(1.0, math.sqrt(h)))


def offset(zone: str, year: int = 2025) -> str:
    """The offset in standard time, the smaller of January's and July's: "UTC minus 3:30".

    In words, because exact match drops punctuation: "-3:30" and "+3:30" would be one answer. So too for latitudes.
    """
    here = zoneinfo.ZoneInfo(zone)
    offsets = [datetime(year, month, 1, tzinfo=here).utcoffset() for month in (1, 7)]
    minutes = round(min(o.total_seconds() for o in offsets if o is not None) / 60)
    return f"UTC {'minus' if minutes < 0 else 'plus'} {abs(minutes) // 60}:{abs(minutes) % 60:02d}"


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=Path)
    options = parser.parse_args()
    tables = options.tables or find_tables()
    names = {code: name for code, name, *_ in read_tab(tables / "iso3166.tab")}
    # The first zone of a country in zone.tab is that of its most populous part.
    zones = [(zone, code, degrees(place)) for code, place, zone, *_ in read_tab(tables / "zone.tab")]
    zone_rows, country_rows = [], []
    for zone, code, place in zones:
        nearest = min((angle(place, there), other) for other, far, there in zones if far != code)[1]
        region, *_, city = zone.replace("_", " ").split("/")
        latitude = f"{abs(place[0]):.1f} {'south' if place[0] < 0 else 'north'}"
        zone_rows.append((zone, names[code], region, city, offset(zone), latitude, nearest))
    for code, name in names.items():
        own = [(zone, place) for zone, owner, place in zones if owner == code]
        if own:
            northernmost = max(own, key=lambda item: item[1][0])[0]
            country_rows.append((name, code, own[0][0], northernmost, len(own)))
    options.folder.mkdir(parents=True, exist_ok=True)
    for file, columns, rows in (("zones", ZONE_COLUMNS, zone_rows), ("countries", COUNTRY_COLUMNS, country_rows)):
        with (options.folder / f"{file}.csv").open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows([columns, *sorted(map(tuple, rows))])


if __name__ == "__main__":
    main()
