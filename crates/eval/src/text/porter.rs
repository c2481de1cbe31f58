//! The Porter stemmer, with the changes that nltk makes to it.
//!
//! The method is of M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980. nltk
//! changes a few rules, and both nltk's METEOR and rouge-score stem with that variant, so scores
//! can only agree if the stems do. The stemmer called "english" elsewhere is Porter's later one,
//! which gives other stems.

/// Words whose stem no rule finds.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Endings that name a quality or a doer of something, and what is left of them.
const DERIVED: [(&str, &str); 22] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
    ("logi", "log"),
];

const SIMPLER: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

const REMOVED: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
    "ism", "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word of lower-case letters, as `PorterStemmer().stem` of nltk gives it.
///
/// Letters beyond ASCII count as consonants, so words of other scripts stay as they are unless
/// they end like English ones.
pub(crate) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_owned();
    }
    if word.chars().nth(2).is_none() {
        return word.to_owned();
    }
    let word = without_plural(word);
    let word = without_past(&word);
    let word = with_i_for_y(word);
    let word = derived(word);
    let word = replace_first(word, &SIMPLER, |stem, _| measure(stem) > 0);
    let removed = REMOVED.map(|ending| (ending, ""));
    let word = replace_first(word, &removed, |stem, ending| {
        measure(stem) > 1 && (ending != "ion" || stem.ends_with(['s', 't']))
    });
    tidied(word)
}

/// Step 1a: plurals.
fn without_plural(word: &str) -> String {
    if word.ends_with("ies") && word.chars().count() == 4 {
        return word[..word.len() - 1].to_owned();
    }
    let rules = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];
    replace_first(word.to_owned(), &rules, |_, _| true)
}

/// Step 1b: past tenses and participles.
fn without_past(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        let ending = if word.chars().count() == 4 { "ie" } else { "i" };
        return format!("{stem}{ending}");
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word.to_owned() };
    }
    let stem = ["ed", "ing"].into_iter().find_map(|ending| word.strip_suffix(ending));
    match stem.filter(|stem| consonants(stem).contains(&false)) {
        Some(stem) => mended(stem),
        None => word.to_owned(),
    }
}

/// Gives a stem that lost `ed` or `ing` its right ending.
fn mended(stem: &str) -> String {
    if ["at", "bl", "iz"].iter().any(|ending| stem.ends_with(ending)) {
        return format!("{stem}e");
    }
    let mut letters = stem.chars().rev();
    let last = letters.next();
    if let Some(last) = last.filter(|_| last == letters.next() && ends_in_consonant(stem)) {
        let single = &stem[..stem.len() - last.len_utf8()];
        return if matches!(last, 'l' | 's' | 'z') { stem } else { single }.to_owned();
    }
    let ending = if measure(stem) == 1 && ends_short(stem) { "e" } else { "" };
    format!("{stem}{ending}")
}

/// Step 1c: `y` after a consonant, unless that is all there is.
fn with_i_for_y(word: String) -> String {
    let rules = [("y", "i")];
    replace_first(word, &rules, |stem, _| stem.chars().nth(1).is_some() && ends_in_consonant(stem))
}

/// Step 2; `alli` comes before all else, and what it leaves goes through the step again.
fn derived(word: String) -> String {
    let mut word = word;
    while let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        word = format!("{stem}al");
    }
    replace_first(word, &DERIVED, |stem, ending| match ending {
        // The l of `logi` counts as a part of the stem, so that `geologi` is like `archaeologi`.
        "logi" => measure(&format!("{stem}l")) > 0,
        _ => measure(stem) > 0,
    })
}

/// Steps 5a and 5b: a last `e`, and one of two `l`.
fn tidied(word: String) -> String {
    let word = match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_short(stem)) => {
            stem.to_owned()
        }
        _ => word,
    };
    match word.strip_suffix('l') {
        Some(stem) if stem.ends_with('l') && measure(stem) > 1 => stem.to_owned(),
        _ => word,
    }
}

/// Replaces the first ending of the list that the word has, if what stands before it is fit; a
/// later ending is not tried then.
fn replace_first(
    word: String,
    rules: &[(&str, &str)],
    is_fit: impl Fn(&str, &str) -> bool,
) -> String {
    let found = rules
        .iter()
        .find_map(|(ending, new)| word.strip_suffix(ending).map(|stem| (stem, *ending, *new)));
    match found {
        Some((stem, ending, new)) if is_fit(stem, ending) => format!("{stem}{new}"),
        _ => word,
    }
}

/// Whether each letter is a consonant; `y` is one at the beginning and after a vowel.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.chars() {
        flags.push(match letter {
            'a' | 'e' | 'i' | 'o' | 'u' => false,
            'y' => flags.last().is_none_or(|before| !before),
            _ => true,
        });
    }
    flags
}

/// How often a vowel is followed by a consonant: Porter's measure.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn ends_in_consonant(stem: &str) -> bool {
    consonants(stem).last() == Some(&true)
}

/// Consonant, vowel, consonant other than w, x and y at the end; or vowel and consonant alone.
fn ends_short(stem: &str) -> bool {
    match consonants(stem).as_slice() {
        [false, true] => true,
        [.., true, false, true] => !stem.ends_with(['w', 'x', 'y']),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// Words and stems of Porter's paper, and of the cases that nltk changes.
    #[test]
    fn each_step_stems_as_its_paper_says() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("dies", "die"),
            ("feed", "feed"),
            ("agreed", "agre"),
            ("plastered", "plaster"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("died", "die"),
            ("spied", "spi"),
            ("happy", "happi"),
            ("enjoy", "enjoy"),
            ("relational", "relat"),
            ("vietnamization", "vietnam"),
            ("geology", "geolog"),
            ("formalize", "formal"),
            ("adoption", "adopt"),
            ("rate", "rate"),
            ("controll", "control"),
            ("skies", "sky"),
            ("is", "is"),
            ("yyyying", "yyyi"),
            ("naïvely", "naïv"),
            ("检索", "检索"),
            ("", ""),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }

    /// Each ending on each of many roots, which reaches every rule of every step.
    #[test]
    fn stems_are_those_of_nltk() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/text_metrics.json");
        let golden = fs::read_to_string(path).expect("golden/text_metrics.json is committed");
        let golden: Value = serde_json::from_str(&golden).unwrap();
        let stems = golden["stems"].as_object().unwrap();
        let differs = |(word, expected): (&String, &Value)| {
            let found = stem(word);
            (expected != &found).then(|| format!("{word}: {found}, not {expected}"))
        };
        let differing: Vec<String> = stems.iter().filter_map(differs).collect();
        assert!(stems.len() > 3000, "only {} words", stems.len());
        assert!(differing.is_empty(), "{differing:#?}");
    }
}
