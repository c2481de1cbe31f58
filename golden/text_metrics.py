"""Writes text_metrics.json: what rouge-score, sacrebleu and nltk compute for pairs of texts.

The texts are our own, with the cases where such programs differ: no words at all, repeated
words, case, signs, numbers, markup, letters beyond ASCII, Chinese. METEOR runs with a dictionary
that knows no synonyms, because ours has none.
"""

import json
import pathlib
import random
import re

from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import meteor_score
from rouge_score import rouge_scorer
import sacrebleu

ENGLISH = [
    ("", ""),
    ("", "An answer to nothing."),
    ("Nobody answered this.", ""),
    ("...", "?!"),
    ("Yes", "yes"),
    ("Yes", "No"),
    ("The scheduler starts a job when memory is free.", "The scheduler starts a job when memory is free."),
    ("The scheduler starts a job when memory is free.", "A job starts when the scheduler frees memory!"),
    ("the the the the", "the the"),
    ("the the", "the the the the the the"),
    ("A card was shared by three tenants, and none of them waited.", "Three tenants shared a card; they were never waiting."),
    ("It costs 1,000.50 dollars (about 900 euros).", "It costs 1000.50 dollars, about 900 euros."),
    ("Version 3.14-rc2 was released on 2026-11-28.", "Release of version 3.14 - rc2: 2026-11-28"),
    ("Tom's cat isn't here; it's at \"home\".", "Toms cat is not here: it is at home"),
    ("x < y &amp; y &gt; z", "x &lt; y & y > z"),
    ("Line one\nline two-\nbroken", "Line one line twobroken"),
    ("Naïve café — Ωmega résumé", "Naive cafe - omega resume"),
    ("Retrievers retrieving retrieved documents happily", "A retriever retrieves the happy document"),
    ("To be or not to be, that is the question.", "To be, or to be not: the question is that."),
    ("WAIT... what?!", "wait... WHAT?"),
    ("a b c d e f g h i j k", "k j i h g f e d c b a"),
    ("   spaces   and\ttabs  ", "spaces and tabs"),
    ("email a.b@c.org or see http://x.org/a_b?c=1#d", "e-mail a.b@c.org; see http://x.org/a_b"),
    ("-5 to -3 and 7- 8", "- 5 to -3 and 7 -8"),
    ("100% of $5 ~ {x} [y] |z| `code` ^_^", "100 % of 5$ ~ x y z code"),
    ("Short.", "A much longer answer than the reference had asked for, with many words."),
    ("A much longer reference than the answer had cared for, with many words in it.", "Short."),
]
CHINESE = [
    ("", "答案"),
    ("劳动者提前三十日通知用人单位，可以解除劳动合同。", "劳动者可以解除劳动合同，但应提前三十日通知用人单位。"),
    ("用GPU训练模型需要约3.5小时。", "训练模型用GPU大约需要3.5小时"),
    ("的的的", "的"),
    ("“合同”自2026年11月28日起生效！", "合同自 2026 年 11 月 28 日起生效"),
    ("检索增强生成（RAG）", "检索增强的生成(rag)"),
    ("她说：“今天不行……”", "他说:\"今天行…\""),
    ("①第一条 ㈠甲方 ㎏", "第一条 甲方 kg"),
]
ROOTS = (
    "relat condit valenc hesit digit conform radic differ vile analog vietnam predic oper feudal"
    " decis hope call form sens triplic electr good reviv allow infer airlin gyroscop adjust defens"
    " irrit replac depend adopt homolog commun activ angular effect bowdler prob rat ceas control"
    " rol hop tan fall hiss fizz fail fil tr sk d l t fl sp enj happ y yy oy geo theo archaeo a be"
).split()
ENDINGS = (
    "|s|es|ies|ss|sses|ed|eed|ied|ing|ying|y|ly|e|er|al|ally|ational|tional|enci|anci|izer|bly|"
    "ably|alli|ently|ely|ously|ization|ation|ator|alism|iveness|fulness|ousness|ality|ivity|"
    "bility|fully|logy|icate|ative|alize|icity|ical|ful|ness|ance|ence|ic|able|ible|ant|ement|"
    "ment|ent|ion|sion|tion|ou|ism|ate|ity|ous|ive|ize|ll|lled|lling|tted|zzed"
).split("|")
WORDS = (
    "the a of and tenant tenants card cards share shared sharing train trained training index"
    " search searches searching quickly quick 12 3.5 GPU memory's low-rank end."
).split()


class NoSynonyms:
    """A dictionary that knows no word."""

    @staticmethod
    def synsets(_):
        return []


class ByWord:
    """For rouge-score: runs of letters and digits, and Chinese characters by themselves."""

    @staticmethod
    def tokenize(text):
        return re.findall(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+", text.lower())


def rouge(scorer, reference, answer):
    """Precision, recall and their mean of ROUGE-1, -2 and -L."""
    scores = scorer.score(reference, answer)
    return {
        name: [scores[name].precision, scores[name].recall, scores[name].fmeasure]
        for name in ("rouge1", "rouge2", "rougeL")
    }


def case(language, reference, answer):
    kinds = ["rouge1", "rouge2", "rougeL"]
    english = language == "english"
    tokenizer = None if english else ByWord
    plain = rouge_scorer.RougeScorer(kinds, use_stemmer=False, tokenizer=tokenizer)
    written = {
        "language": language,
        "reference": reference,
        "answer": answer,
        "rouge": rouge(plain, reference, answer),
        "bleu": sacrebleu.sentence_bleu(answer, [reference], tokenize="13a" if english else "zh").score,
        "meteor": meteor_score([ByWord.tokenize(reference)], ByWord.tokenize(answer), wordnet=NoSynonyms),
    }
    if english:
        stemmed = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
        written["rouge_stemmed"] = rouge(stemmed, reference, answer)
    return written


def drawn(rng):
    """A reference and an answer that keeps some of its words in some order."""
    reference = rng.choices(WORDS, k=rng.randint(1, 30))
    answer = [word for word in reference if rng.random() < 0.7]
    answer += rng.choices(WORDS, k=rng.randint(0, 8))
    if rng.random() < 0.5:
        cut = rng.randint(0, len(answer))
        answer = answer[cut:] + answer[:cut]
    return " ".join(reference), " ".join(answer)


def corpus(language, cut, pairs):
    """BLEU of all answers together, and of answers with two references each."""
    references, answers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    turned = references[1:] + references[:1]
    return {
        "language": language,
        "references": references,
        "answers": answers,
        "bleu": sacrebleu.corpus_bleu(answers, [references], tokenize=cut).score,
        "bleu_of_two": sacrebleu.corpus_bleu(answers, [references, turned], tokenize=cut).score,
    }


def main():
    rng = random.Random(20261128)
    stemmer = PorterStemmer()
    english = ENGLISH + [drawn(rng) for _ in range(40)]
    words = sorted({root + ending for root in ROOTS for ending in ENDINGS})
    words += ["skies", "dying", "lying", "news", "innings", "howe", "succeed", "proceed", "exceed", "ünïversal"]
    golden = {
        "written_by": "golden/text_metrics.py",
        "stems": {word: stemmer.stem(word) for word in words},
        "pairs": [case("english", *pair) for pair in english] + [case("chinese", *pair) for pair in CHINESE],
        "corpora": [corpus("english", "13a", english), corpus("chinese", "zh", CHINESE)],
    }
    path = pathlib.Path(__file__).with_name("text_metrics.json")
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
