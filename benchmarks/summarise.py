"""Several runs of one recipe as a Markdown table and as a picture; or the arms of an experiment as a picture.

    python benchmarks/summarise.py runs/seed-0 runs/seed-1 runs/seed-2 --svg docs/before-after.svg
    python benchmarks/summarise.py --arms runs/privilege/runs/sparse --svg docs/arms.svg

The table has a row for each run and evaluation: exact match by hops, alone and with the true path. The picture has a
line for each hop count, the mean over the runs, and a band from the lowest to the highest; of arms, a line for each,
the right rollouts of each step of training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#9c6b4e", "#a463f2", "#38761d")
ARMS = {
    "true": "the path",
    "reward": "reward only",
    "foreign": "another's",
    "none": "empty slot",
    "half": "half of it",
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 56, 130, 44, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--arms", type=Path, help="a folder with a folder of runs for each arm")
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    arguments = parser.parse_args()
    if bool(arguments.runs) == bool(arguments.arms) or (arguments.arms and not arguments.svg):
        parser.error("give runs, or --arms with --svg")
    if arguments.arms:
        arguments.svg.write_text(of_arms(arguments.arms), encoding="utf-8")
        return
    summaries = [json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in arguments.runs]
    print(table(summaries))
    if arguments.svg:
        arguments.svg.write_text(of_runs(summaries), encoding="utf-8")


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


def of_runs(summaries: list[dict[str, Any]]) -> str:
    """Exact match by iteration, one line a hop count."""
    evals = [summary["eval"] for summary in summaries]
    first = evals[0][0]
    title = (
        f"Exact match on {sum(first['n_by_hops'].values())} held-out questions, mean and range of {len(evals)} seeds"
    )
    marks = {step: f"iteration {step}" if step else "base" for step in range(len(evals[0]))}
    lines = {
        f"{hops} hop{'s' * (hops != '1')}": [
            [(step, row["em_by_hops"][hops]) for step, row in enumerate(run)] for run in evals
        ]
        for hops in first["em_by_hops"]
    }
    return picture(title, marks, lines)


def of_arms(folder: Path) -> str:
    """The share of right rollouts by step of training, one line an arm."""
    lines, steps, seeds = {}, 0, 0
    for arm, name in ARMS.items():
        runs = [path.parent for path in sorted((folder / arm).glob("seed-*/summary.json"))]
        rows = [[json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()] for run in runs]
        if rows:
            lines[name] = [[(row["n"], row["accuracy"]) for row in run] for run in rows]
            steps, seeds = max(steps, *map(len, rows)), max(seeds, len(rows))
    title = f"Right rollouts by step of training, T = 1, mean and range of {seeds} seeds"
    return picture(title, {step: str(step) for step in range(1, steps + 1)}, lines)


def picture(title: str, marks: dict[int, str], lines: dict[str, list[list[tuple[int, float]]]]) -> str:
    """An SVG of shares over ``marks``: for each name its runs' points, drawn as their mean and their range."""
    first, last = min(marks), max(marks)

    def x(step: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / max(1, last - first)

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-weight="bold">{title}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        height = y(share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end" fill="#555">{share:g}</text>')
    for step, name in marks.items():
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 20}" text-anchor="middle" fill="#555">{name}</text>')
    labels = []
    for (name, runs), colour in zip(lines.items(), COLOURS, strict=False):
        points = [
            (step, [share for _, share in column]) for column in zip(*runs, strict=True) for step in [column[0][0]]
        ]
        high = [f"{x(step):.1f},{y(max(shares)):.1f}" for step, shares in points]
        low = [f"{x(step):.1f},{y(min(shares)):.1f}" for step, shares in points]
        means = [(step, sum(shares) / len(shares)) for step, shares in points]
        parts.append(f'<polygon points="{" ".join(high + low[::-1])}" fill="{colour}" opacity="0.18"/>')
        line = " ".join(f"{x(step):.1f},{y(mean):.1f}" for step, mean in means)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        labels.append([y(means[-1][1]), f"{name} {means[-1][1]:.2f}", colour])
    labels.sort()
    for i, label in enumerate(labels):
        # Labels that would overlap move down.
        if i and label[0] - labels[i - 1][0] < 16:
            label[0] = labels[i - 1][0] + 16
        height, text, colour = label
        parts.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{height + 4:.1f}" fill="{colour}" font-weight="bold">{text}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
