"""The example scripts on a few lines of what they read."""

import csv
import runpy
import sys
from pathlib import Path

import pytest

TABLES = Path(__file__).parents[3] / "examples" / "tables"

STATUS = """\
Package: adduser
Status: install ok installed
Priority: important
Section: admin
Installed-Size: 686
Maintainer: Debian Adduser Developers <adduser@packages.debian.org>
Version: 3.134
Depends: passwd (>= 1:4.9) | other, base-files
Description: add and remove users
 Package: not-a-field

Package: gone
Status: deinstall ok config-files

Package: passwd
Status: install ok installed
Source: shadow (1:4.13)
Version: 1:4.13
Pre-Depends: libc6:any (>= 2.14)
"""


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(TABLES / script), run_name="__main__")


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_packages(tmp_path, monkeypatch):
    (tmp_path / "status").write_text(STATUS)
    run(monkeypatch, "packages.py", tmp_path / "packages.csv", "--status", tmp_path / "status")
    adduser, passwd = read(tmp_path / "packages.csv")
    assert list(adduser.values()) == [
        "adduser",
        "3.134",
        "admin",
        "important",
        "Debian Adduser Developers",
        "adduser",
        "686",
        "passwd",
    ]
    assert (passwd["source"], passwd["dependency"], passwd["section"]) == ("shadow", "libc6", "")


def test_zones(tmp_path, monkeypatch):
    pytest.importorskip("zoneinfo").ZoneInfo("Asia/Tokyo")
    (tmp_path / "iso3166.tab").write_text("# codes\nDE\tGermany\nJP\tJapan\nAU\tAustralia\nBV\tBouvet Island\n")
    (tmp_path / "zone.tab").write_text(
        "DE\t+5230+01322\tEurope/Berlin\tmost of Germany\nDE\t+4742+00841\tEurope/Busingen\tBusingen\n"
        "JP\t+353916+1394441\tAsia/Tokyo\nAU\t-3133+15905\tAustralia/Lord_Howe\tLord Howe Island\n"
    )
    run(monkeypatch, "zones.py", tmp_path / "out", "--tables", tmp_path)
    zones = {row["zone"]: row for row in read(tmp_path / "out" / "zones.csv")}
    assert list(zones["Australia/Lord_Howe"].values()) == [
        "Australia/Lord_Howe",
        "Australia",
        "Australia",
        "Lord Howe",
        "UTC plus 10:30",
        "31.6 south",
        "Asia/Tokyo",
    ]
    assert zones["Europe/Berlin"]["utc offset"] == "UTC plus 1:00"
    assert zones["Europe/Berlin"]["nearest foreign zone"] == "Asia/Tokyo"
    countries = read(tmp_path / "out" / "countries.csv")
    assert [row["country"] for row in countries] == ["Australia", "Germany", "Japan"]
    assert list(countries[1].values()) == ["Germany", "DE", "Europe/Berlin", "Europe/Berlin", "2"]
