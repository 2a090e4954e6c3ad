"""Trains the packaged model of the stage `toxicity` and prints what docs/models.md tells of it.

    python scripts/train_toxicity.py toxicity.jsonl --out curate/models/toxicity.ftz

toxicity.jsonl has one object a line, with `text`, `label` and `set`, of two public sets, both under the MIT licence:
labels hate, offensive and neither with the set "davidson" (t-davidson/hate-speech-and-offensive-language,
data/labeled_data.csv, 24,783 tweets), and toxic and ok with the set "surge" (surge-ai/toxicity, toxicity_en.csv, 1,000
comments). Neutral prose comes from the example site beside this script. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl

from curate.models.toxicity import LABEL, find_passages, spelled
from curate.models.training import Fit, fit_model, is_held_out, load_bytes, probabilities, scores

SITE = Path(__file__).resolve().parents[1] / "examples" / "site"
FIT = Fit(least=3)
# Four of five tweets of davidson are offensive, since it was searched with a lexicon; surge is 1 in 25 of all.
TIMES = {("davidson", "neither"): 4, ("surge", "toxic"): 4, ("surge", "ok"): 8}
KIND = {"hate": LABEL, "offensive": LABEL, "toxic": LABEL, "neither": "ok", "ok": "ok"}


def labelled(path: Path) -> pl.DataFrame:
    """set, label and passage of each text: entities of HTML are written out, as `repair` does before the stage."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    texts = [html.unescape(html.unescape(row["text"])).replace("\n", " ") for row in rows]
    frame = pl.DataFrame(
        {"set": [row["set"] for row in rows], "label": [row["label"] for row in rows], "text": texts}
    )
    return frame.with_columns(passage=spelled(pl.col("text"))).filter(pl.col("passage") != "")


def neutral() -> list[str]:
    """Lines of the example site's pages, as passages: prose that is none of what the model looks for."""
    found = set()
    for page in sorted(SITE.rglob("*.html")):
        body = re.sub(r"(?s)<(script|style).*?</\1>", "", page.read_text("utf-8", "ignore"))
        found |= {line.strip() for line in html.unescape(re.sub(r"<[^>]+>", "\n", body)).split("\n")}
    lines = sorted(line for line in found if 60 < len(line) < 280)
    return find_passages(pl.Series(lines, dtype=pl.String)).get_column("passage").to_list()


def main() -> None:
    """Train, write, and print a table of precision and recall for each set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = labelled(options.source)
    held = rows.filter(pl.Series([is_held_out(text) for text in rows.get_column("passage").to_list()]))
    trained = rows.filter(pl.Series([not is_held_out(text) for text in rows.get_column("passage").to_list()]))
    pairs = [
        (KIND[label], passage)
        for source, label, passage in trained.select("set", "label", "passage").iter_rows()
        for _ in range(TIMES.get((source, label), 1))
    ]
    background = neutral()
    data = fit_model([*pairs, *(("ok", passage) for passage in background)], FIT)
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print(
        f"{len(trained):,} texts trained on, {len(held):,} held out, {len(background):,} passages of neutral prose"
    )
    given = probabilities(load_bytes(data), held.get_column("passage").to_list(), LABEL)
    is_toxic = held.get_column("label").replace_strict(KIND).to_numpy() == LABEL
    for source in ("davidson", "surge"):
        own = held.get_column("set").to_numpy() == source
        print(f"\n{source}: {int(own.sum()):,} held out, {int(is_toxic[own].sum()):,} of them toxic")
        print("| score from | precision | recall | of the others, taken |\n| --- | --- | --- | --- |")
        for score in scores(given[own], is_toxic[own]):
            wrong = float(np.mean(given[own][~is_toxic[own]] >= score.threshold))
            print(f"| {score.threshold:g} | {score.precision:.3f} | {score.recall:.3f} | {wrong:.3f} |")


if __name__ == "__main__":
    main()
