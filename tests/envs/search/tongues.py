"""Small encyclopedias in six languages: towns with a river, a craft, a builder, a year and a feast, and questions.

River and craft together, the builder alone, or the year alone single out a town.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from piplay.envs.search.question import Passage

TONGUES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def encyclopedia(tongue: str) -> tuple[list[Passage], list[tuple[str, str]]]:
    """56 passages, and questions each with the id of the passage that answers it."""
    says = TONGUES[tongue]
    passages, questions = [], []
    for number, values in enumerate(towns(says)):
        text = Template(says["texts"][number % 2]).substitute(values)
        passages.append(Passage(str(number), values["name"], text))
        questions += [(Template(question).substitute(values), str(number)) for question in says["questions"]]
    return passages, questions


def towns(says: dict[str, Any]) -> Iterator[dict[str, str]]:
    for i, first in enumerate(says["first"]):
        for j, second in enumerate(says["second"]):
            year = str(811 + 41 * i + 5 * j)
            builder = says["family"][i] + says["between_person"] + says["given"][(i + j) % 7]
            yield {
                "name": first + says["between_names"] + second,
                "river": says["rivers"][(3 * i + j) % 8],
                "craft": says["crafts"][j],
                "builder": builder,
                "upper": builder.replace("i", "İ").replace("ı", "I").upper(),
                "feast": says["feasts"][(i + 2 * j) % 7],
                "year": year,
                "wide": "".join(chr(ord(digit) + 0xFEE0) for digit in year),
                "native": "".join(says["digits"][int(digit)] for digit in year),
            }
