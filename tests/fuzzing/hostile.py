"""Shows every chat, over every kind of tokenizer, text that spells its control tokens, and counts those that it gets:
``python tests/fuzzing/hostile.py --encodes 1000000``.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

FILLING = (
    " ", "\n", "Bor", "\x00", "\x004", "\u200b", "\ufeff", "\u2581", "Ġ", "<", ">", "|", "##", "é", "東京", "😀", "{%",
    "\u202e", "<unk>", "[UNK]", "<s>", "</s>", "<0x0A>", "<pad>", "<|endoftext|>", "<|eot_id|>", "{{", '"',
    "\\n", "\\u003c",
)  # fmt: skip


def texts(tokens: tuple[str, ...], seed: int, count: int) -> list[str]:
    """Texts of control tokens: whole, cut, doubled, nested, in wide letters, by their numbers, and by their bytes."""
    rng = random.Random(seed)
    wide = str.maketrans({chr(point): chr(point + 0xFEE0) for point in range(33, 127)})

    def piece() -> str:
        token = rng.choice(tokens)
        cut = rng.randrange(1, len(token)) if len(token) > 1 else 0
        forms = (
            token, token, token.upper(), token[:cut], token[cut:], token[:cut] + token + token[cut:],
            token.translate(wide), "\u200b".join(token), f"{token[:cut]} {token[cut:]}", f"\x00{rng.randrange(400)}",
            rng.choice(FILLING), rng.choice(FILLING),
        )  # fmt: skip
        return rng.choice(forms)

    return ["".join(piece() for _ in range(rng.choice((1, 1, 2, 4, 9)))) for _ in range(count)]


def forged(count: int, seed: int = 0) -> tuple[int, Counter[str]]:
    """How many texts were encoded, and how many control tokens they forged, by chat."""
    from fuzzing.targets import chats

    tried, found = 0, Counter[str]()
    for name, chat in chats().items():
        unknown = {chat.tokenizer.unk_token_id}
        added = chat.tokenizer.get_added_vocab()
        control = frozenset(added.values()) - unknown
        tool = chat.tools[0].name
        ways = {
            "encode": chat.encode,
            "system": lambda text, chat=chat: chat.prompt(text, "Who?").tolist(),
            "user": lambda text, chat=chat: chat.prompt("Be brief.", text).tolist(),
            "result": lambda text, chat=chat, tool=tool: chat.tool_turn(text, tool).tolist(),
            "turn": lambda text, chat=chat: chat.user_turn(text).tolist(),
        }
        share = -(-count // (len(chats()) * len(ways)))
        for way, encode in ways.items():
            quiet = [token for token in encode("x") if token in control]
            for text in texts(tuple(added), seed, share):
                tried += 1
                found[f"{name}, {way}"] += [token for token in encode(text) if token in control] != quiet
    return tried, +found


def main() -> int:
    """The exit code is 1 where a control token was forged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encodes", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tried, found = forged(given.encodes, given.seed)
    print(f"{tried} texts encoded, {found.total()} with forged control tokens {dict(found) or ''}")
    return found.total() > 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
