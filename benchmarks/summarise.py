"""Several runs of one recipe as a Markdown table and as a picture.

    python benchmarks/summarise.py runs/seed-0 runs/seed-1 runs/seed-2 --svg docs/before-after.svg

The table has a row for each run and evaluation: exact match by hops, alone and with the true path. The picture has a
line for each hop count, the mean over the runs, and a band from the lowest to the highest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLOURS = {"1": "#4269d0", "2": "#efb118", "3": "#ff725c", "4": "#6cc5b0"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 56, 84, 44, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    arguments = parser.parse_args()
    summaries = [json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in arguments.runs]
    print(table(summaries))
    if arguments.svg:
        arguments.svg.write_text(picture(summaries), encoding="utf-8")


def table(summaries: list[dict[str, Any]]) -> str:
    """Markdown, one row a run and evaluation."""
    hops = list(summaries[0]["eval"][0]["em_by_hops"])
    lines = [
        f"| seed | after iteration | {' | '.join(f'{h} hop' for h in hops)} | all | teacher with path | minutes |",
        f"|{'---|' * (len(hops) + 5)}",
    ]
    for summary in summaries:
        for row in summary["eval"]:
            alone = " | ".join(f"{row['em_by_hops'][h]:.2f}" for h in hops)
            shown = " / ".join(f"{em:.2f}" for em in row.get("teacher_em_by_hops", {}).values())
            last = row is summary["eval"][-1]
            minutes = f"{summary['wall_seconds'] / 60:.1f}" if last else ""
            lines.append(
                f"| {summary['seed']} | {row['iteration']} | {alone} | {row['em']:.2f} | {shown} | {minutes} |"
            )
    return "\n".join(lines)


def picture(summaries: list[dict[str, Any]]) -> str:
    """An SVG of exact match by iteration, one line a hop count."""
    evals = [summary["eval"] for summary in summaries]
    steps = len(evals[0])
    questions = sum(evals[0][0]["n_by_hops"].values())

    def x(step: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, steps - 1)

    def y(em: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - em)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-weight="bold">Exact match on {questions} held-out questions, '
        f"mean and range of {len(summaries)} seeds</text>",
    ]
    for em in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(em):.1f}" y2="{y(em):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(em) + 4:.1f}" text-anchor="end" fill="#555">{em:g}</text>')
    for step in range(steps):
        name = "base" if step == 0 else f"iteration {step}"
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 20}" text-anchor="middle" fill="#555">{name}</text>')
    labels = []
    for hops in evals[0][0]["em_by_hops"]:
        values = [[run[step]["em_by_hops"][hops] for run in evals] for step in range(steps)]
        means = [sum(found) / len(found) for found in values]
        high = [f"{x(i):.1f},{y(max(v)):.1f}" for i, v in enumerate(values)]
        low = [f"{x(i):.1f},{y(min(v)):.1f}" for i, v in enumerate(values)]
        colour = COLOURS.get(hops, "#888")
        parts.append(f'<polygon points="{" ".join(high + low[::-1])}" fill="{colour}" opacity="0.18"/>')
        line = " ".join(f"{x(i):.1f},{y(mean):.1f}" for i, mean in enumerate(means))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        labels.append([y(means[-1]), hops, means[-1], colour])
    labels.sort()
    for i, label in enumerate(labels):
        # Labels that would overlap move down.
        if i and label[0] - labels[i - 1][0] < 16:
            label[0] = labels[i - 1][0] + 16
        height, hops, mean, colour = label
        plural = "hop" if hops == "1" else "hops"
        parts.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{height + 4:.1f}" fill="{colour}" font-weight="bold">'
            f"{hops} {plural} {mean:.2f}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
