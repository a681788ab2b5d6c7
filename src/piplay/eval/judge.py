"""A second opinion on answers: a language model at an OpenAI endpoint says whether one means what a gold does.

It judges after exact match and beside it, never in its place. Before anything is played it has to be right on fixed
pairs, in both orders of gold and answer: a judge that goes by the place, or a prompt that confuses the two, is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Lock
from typing import Any

from piplay.envs.search.cache import cache_folder
from piplay.envs.search.http import is_url
from piplay.errors import InputError, Unavailable, first_line
from piplay.eval.statistics import wilson
from piplay.files import from_json

KEY = "PIPLAY_JUDGE_KEY"
"""The environment variable with the endpoint's key, where it wants one."""
PROMPT = """\
Question: {question}
First answer: {first}
Second answer: {second}
Do both answers say the same in reply to the question? Another spelling, more detail or fewer words do not matter; \
another person, place, date or number does. Reply with one word, yes or no."""
PAIRS = (
    ("What is the capital of France?", "Paris", "Paris, France", True),
    ("Who wrote Hamlet?", "William Shakespeare", "Shakespeare", True),
    ("How many legs does a spider have?", "8", "eight", True),
    ("Which river flows through London?", "Thames", "The River Thames", True),
    ("When did the Second World War end?", "1945", "1918", False),
    ("What is the largest planet of the solar system?", "Jupiter", "Saturn", False),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci", "Michelangelo", False),
    ("What is the chemical symbol of gold?", "Au", "Ag", False),
)
"""Question, gold, answer, and whether they say the same."""
TRIES = 4
IN_FLIGHT = 8
SECONDS = 60.0
TOKENS = 2048
"""For a verdict, with what a model thinks before it."""


class Judge:
    """A judge at an address, checked on the fixed pairs; what it said is kept on disk."""

    def __init__(self, url: str, model: str) -> None:
        """Ask it about the fixed pairs.

        Args:
            url: of the endpoint, as http://127.0.0.1:8000/v1.
            model: what it is called there.

        Raises:
            InputError: the url is none, no model is named, httpx is not installed, or it is wrong on a fixed pair.
            Unavailable: it does not answer.
        """
        if not is_url(url):
            raise InputError(f"--judge is {url!r}: give an address as http://127.0.0.1:8000/v1")
        if not model:
            raise InputError("--judge needs the name of a model there: give --judge-model")
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise InputError(f"--judge needs {error.name}: pip install 'piplay[serve]'") from error
        self.url, self.model = url.rstrip("/"), model
        self.prompt = sha256(PROMPT.encode()).hexdigest()
        secret = os.environ.get(KEY, "").strip()
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._client = httpx.Client(timeout=SECONDS, headers=headers)
        name = sha256("\n".join((self.url, model, PROMPT)).encode()).hexdigest()[:24]
        self._file = cache_folder() / "judges" / f"{name}.jsonl"
        self._lock = Lock()
        self._kept = self._read()
        self._check()

    def same(self, asked: Sequence[tuple[str, str, str]]) -> list[bool]:
        """Whether, of each question, the first answer says what the second says. Raises ``Unavailable``."""
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return list(pool.map(self._verdict, asked))

    def measure(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What it says of answers, as numbers beside exact match; raises ``Unavailable``.

        Args:
            rows: each with ``question``, ``golds``, ``answer`` and ``em``, as in ``records.jsonl``.
        """
        asked = [(row["question"], gold, row["answer"]) for row in rows if row["answer"] for gold in row["golds"]]
        told = dict(zip(asked, self.same(asked), strict=True))
        right = [any(told.get((row["question"], gold, row["answer"])) for gold in row["golds"]) for row in rows]
        agree = sum(mine == bool(row["em"]) for mine, row in zip(right, rows, strict=True))
        return {
            "n": len(rows),
            "right": sum(right) / len(rows),
            "interval": list(wilson(sum(right), len(rows))),
            "agreement_with_em": agree / len(rows),
            "only_em": sum(bool(row["em"]) and not mine for mine, row in zip(right, rows, strict=True)),
            "only_judge": sum(mine and not row["em"] for mine, row in zip(right, rows, strict=True)),
        }

    def about(self) -> dict[str, Any]:
        """What has to be known of it beside its numbers."""
        return {"url": self.url, "model": self.model, "prompt_sha256": self.prompt, "fixed_pairs": 2 * len(PAIRS)}

    def _check(self) -> None:
        """Raises ``InputError`` where it is wrong on a fixed pair, in either order."""
        asked = [(question, *pair) for question, gold, answer, _ in PAIRS for pair in ((gold, answer), (answer, gold))]
        known = [same for *_, same in PAIRS for _ in range(2)]
        wrong = [one for one, said, same in zip(asked, self.same(asked), known, strict=True) if said != same]
        if wrong:
            question, first, second = wrong[0]
            raise InputError(
                f"the judge {self.model} is wrong on {len(wrong)} of {len(known)} fixed pairs, as on {first!r} and "
                f"{second!r} for {question!r}: take another"
            )

    def _verdict(self, asked: tuple[str, str, str]) -> bool:
        key = sha256(json.dumps(asked).encode()).hexdigest()
        if key not in self._kept:
            question, first, second = asked
            said = self._ask(PROMPT.format(question=question, first=first, second=second))
            words = said.rpartition("</think>")[2].lower().split()
            verdict = bool(words) and words[-1].strip(".,:;!*\"'") == "yes"
            with self._lock:
                self._kept[key] = verdict
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"asked": key, "same": verdict}) + "\n")
        return self._kept[key]

    def _ask(self, prompt: str) -> str:
        import httpx

        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        reason = ""
        for _ in range(TRIES):
            try:
                answer = self._client.post(
                    f"{self.url}/chat/completions", json=body | {"temperature": 0, "max_tokens": TOKENS}
                )
                if answer.status_code == 200:
                    return str(answer.json()["choices"][0]["message"]["content"] or "")
                reason = f"status {answer.status_code}"
                if answer.status_code < 500 and answer.status_code != 429:
                    break
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                reason = first_line(error)
        raise Unavailable(f"the judge at {self.url} does not answer ({reason}); give the same command again to go on")

    def _read(self) -> dict[str, bool]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        found: dict[str, bool] = {}
        for line in self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else ():
            try:
                row = from_json(line)
                found[row["asked"]] = bool(row["same"])
            except (ValueError, LookupError, TypeError):
                continue  # cut off where a process died: it is asked again
        return found


def judge_of(given: Mapping[str, Any]) -> Judge | None:
    """The judge that a command's options name, if they do."""
    return Judge(given["judge"], given["judge_model"]) if given["judge"] else None


def told(name: str, numbers: Mapping[str, Any], judge: Judge) -> str:
    """What it says, in a sentence for people."""
    low, high = numbers["interval"]
    return (
        f"{name}: the judge {judge.model} calls {numbers['right']:.3f} ({low:.3f}–{high:.3f}) of {numbers['n']} "
        f"answers right, and agrees with exact match on {numbers['agreement_with_em']:.3f} (it alone "
        f"{numbers['only_judge']}, exact match alone {numbers['only_em']}; prompt {judge.prompt[:12]})"
    )
