"""Scores texts with the reference implementation of VADER, for the tests of ours.

Called by vader_reference.sh inside a virtual environment that has vaderSentiment 3.3.2.

  vader_reference.py GROUND_TRUTH_FOLDER OUT_FOLDER SEED

Writes OUT_FOLDER/reference.tsv: set, id, text as JSON, human rating (empty for synthetic
texts), compound, positive, neutral, negative; and OUT_FOLDER/reference.json: versions,
seed, and the reference's microseconds per document of each set (best of three passes).
"""

import json
import os
import platform
import random
import sys
import time

from vaderSentiment import vaderSentiment as vader

SETS = {
    "tweets": "tweets_GroundTruth.txt",
    "movie_reviews": "movieReviewSnippets_GroundTruth.txt",
    "amazon_reviews": "amazonReviewSnippets_GroundTruth.txt",
    "nyt_editorials": "nytEditorialSnippets_GroundTruth.txt",
}
SYNTHETIC = 12000

# White space and near white space of every kind, and letters that change oddly with case.
SPACES = [" "] * 30 + ["  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0",
          "\u1680", "\u2003", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\x00"]
ODD = ["K", "s\u0323", "ſ", "İ", "ı", "ß", "ẞ", "Σ", "ς", "ǅ", "ᾈ", "Ⅷ", "ⅷ", "ª", "Ａ", "é", "É", "漢字", "Привет",
       "ПРИВЕТ", "مرحبا", "\u0301", "\u200d", "\ufe0f", "\x00", "𝐆𝐎𝐎𝐃", "’", "“", "—", "…", "¡", "¿"]
PUNCTUATION = list("!?.,;:'\"-()[]{}<>*&^%$#@~`|\\/_=+")
PLAIN = ["the", "a", "book", "table", "was", "is", "of", "and", "it", "I", "x", "ab", "B", "2024", "3.5", "@anonymous",
         "http://url_removed", "#tag", "to", "for", "in", "on"]


def ground_truth(folder):
    for name, file in SETS.items():
        with open(os.path.join(folder, file), encoding="utf-8", newline="") as lines:
            for line in lines:
                ident, rating, text = line.rstrip("\r\n").split("\t", 2)
                yield name, ident, text, rating


def phrase_words():
    words = set(PLAIN)
    for phrases in (vader.SPECIAL_CASES, vader.BOOSTER_DICT, vader.SENTIMENT_LADEN_IDIOMS):
        for phrase in phrases:
            words.update(phrase.split())
    words.update(vader.NEGATE)
    words.update(["no", "or", "nor", "least", "at", "very", "never", "so", "this", "without", "doubt", "but", "kind", "of"])
    return sorted(words)


def dressed(rng, word):
    """The word in a random case, with random punctuation around it."""
    case = rng.random()
    if case < 0.25:
        word = word.upper()
    elif case < 0.35:
        word = word.capitalize()
    elif case < 0.4:
        word = "".join(rng.choice([c.upper(), c.lower()]) for c in word)
    if rng.random() < 0.05:
        at = rng.randrange(len(word) + 1)
        word = word[:at] + rng.choice(ODD) + word[at:]
    if rng.random() < 0.03:
        word = word.replace("k", "\u212a").replace("K", "\u212a")
    if rng.random() < 0.2:
        word += rng.choice(PUNCTUATION) * rng.choice([1, 1, 1, 2, 3, 4, 5, 9])
    if rng.random() < 0.1:
        word = rng.choice(PUNCTUATION) * rng.choice([1, 1, 2, 3]) + word
    if rng.random() < 0.03:
        word += rng.choice(["n't", "N'T", "n’t", "'s", "n'tx"])
    return word


def synthetic(seed, analyzer):
    rng = random.Random(seed)
    lexicon = sorted(analyzer.lexicon)
    emojis = sorted(analyzer.emojis)
    phrases = sorted(list(vader.SPECIAL_CASES) + [b for b in vader.BOOSTER_DICT if " " in b]
                     + ["at least", "the very least", "never so", "never this", "without a doubt", "without doubt", "kind of",
                        "no good or bad", "no fun nor joy", "not only good but great"])
    functional = phrase_words()

    def piece():
        kind = rng.random()
        if kind < 0.3:
            return dressed(rng, rng.choice(lexicon))
        if kind < 0.65:
            return dressed(rng, rng.choice(functional))
        if kind < 0.75:
            return " ".join(dressed(rng, word) for word in rng.choice(phrases).split())
        if kind < 0.85:
            return dressed(rng, rng.choice(PLAIN))
        if kind < 0.93:
            return "".join(rng.choice(emojis) for _ in range(rng.choice([1, 1, 2, 5])))
        if kind < 0.96:
            return rng.choice(ODD)
        if kind < 0.98:
            return "".join(rng.choice(PUNCTUATION) for _ in range(rng.randrange(1, 12)))
        return "".join(chr(rng.choice([rng.randrange(0x20, 0x250), rng.randrange(0x370, 0x600), rng.randrange(0x1e00, 0x2100),
                                       rng.randrange(0x1f300, 0x1f700)])) for _ in range(rng.randrange(1, 8)))

    # Every word and every emoji alone, negated, boosted; the empty, the blank, the long.
    yield from ["", " ", "\n", "\x1c\x1f", "\u3000", "!", "????", "!!!!!!", "but", "BUT", "no", "not", "kind of", "least",
                "at least good", "\ufeffgood", "good\x00", "good\x1cbad", "good\x85bad", "good\u200bbad"]
    for word in lexicon:
        yield f"it is not VERY {word}"
    for emoji in emojis:
        yield f"so{emoji}{emoji} and {emoji}!"
    for phrase in phrases:
        for form in (phrase, phrase.upper(), phrase.title()):
            yield f"well it was {form} good for us"
            yield f"{form} good"
            yield f"they say the horrible thing {form}"
    for length in (300, 700, 1500):
        for _ in range(4):
            yield " ".join(piece() for _ in range(length))
            # Few different valences and a "but": the reference's oddest path.
            yield " ".join(rng.choice(["good", "bad", "nice", "not good", "the"]) for _ in range(length // 2)) + \
                " but " + " ".join(rng.choice(["good", "bad", "happy"]) for _ in range(length // 2))
    for _ in range(SYNTHETIC):
        length = rng.choice([1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 10, 14, 20, 30])
        yield "".join(piece() + rng.choice(SPACES) for _ in range(length))


def main():
    folder, out, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    analyzer = vader.SentimentIntensityAnalyzer()
    rows = list(ground_truth(folder))
    micros = {}
    for name in SETS:
        texts = [row[2] for row in rows if row[0] == name]
        best = min(timed(analyzer, texts) for _ in range(3))
        micros[name] = round(best * 1e6 / len(texts), 2)
    rows += [("synthetic", str(i), text, "") for i, text in enumerate(synthetic(seed, analyzer))]
    with open(os.path.join(out, "reference.tsv.new"), "w", encoding="ascii", newline="\n") as tsv:
        for name, ident, text, rating in rows:
            s = analyzer.polarity_scores(text)
            tsv.write("\t".join([name, ident, json.dumps(text), rating] +
                                [repr(s[k]) for k in ("compound", "pos", "neu", "neg")]) + "\n")
    about = {"vader": "3.3.2", "python": platform.python_version(), "seed": seed, "texts": len(rows),
             "us_per_document": micros}
    with open(os.path.join(out, "reference.json"), "w", encoding="ascii") as file:
        json.dump(about, file, indent=1)
    os.replace(os.path.join(out, "reference.tsv.new"), os.path.join(out, "reference.tsv"))
    print(json.dumps(about))


def timed(analyzer, texts):
    start = time.perf_counter()
    for text in texts:
        analyzer.polarity_scores(text)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
