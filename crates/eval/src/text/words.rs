//! How a text is cut into words.

use std::collections::HashMap;

use super::porter::stem;

/// The language of a text, as far as it decides where words begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// Words have spaces between them; anything but ASCII letters and digits parts them in ROUGE.
    #[default]
    English,
    /// Every Chinese character is a word by itself; words of other scripts stay whole.
    Chinese,
}

/// Whether words are compared as they are, or by their stems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stemming {
    /// As they are, in lower case.
    #[default]
    None,
    /// Words of more than three letters by their Porter stem, as rouge-score's `use_stemmer`.
    Porter,
}

/// The words of a text in lower case: runs of letters and digits, and single Chinese characters.
///
/// Everything else parts words and is dropped. METEOR counts these, and ROUGE those of Chinese.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in text.to_lowercase().chars() {
        if letter.is_alphanumeric() && !is_chinese(letter) {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if is_chinese(letter) {
            words.push(letter.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The words that rouge-score counts: runs of ASCII letters and digits, in lower case.
pub(crate) fn ascii_words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let parts = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Stems a word if it has more than three letters.
pub(crate) fn stemmed(word: String) -> String {
    match word.chars().nth(3) {
        Some(_) => stem(&word),
        None => word,
    }
}

/// Two texts as numbers, the same number for the same word.
///
/// # Panics
/// If there are more than 2^32 different words.
pub(crate) fn numbered(left: &[String], right: &[String]) -> [Vec<u32>; 2] {
    let mut known: HashMap<String, u32> = HashMap::new();
    [left, right].map(|words| {
        let number = |word: &String| {
            let next = u32::try_from(known.len()).expect("a text has fewer words than 2^32");
            *known.entry(word.clone()).or_insert(next)
        };
        words.iter().map(number).collect()
    })
}

/// Whether a character is an ideograph of the blocks that Unicode calls CJK.
fn is_chinese(letter: char) -> bool {
    matches!(
        letter,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2fa1f}'
            | '\u{30000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_and_single_characters() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text:?}");
        check("The cat's 3.5 Hats!", &["the", "cat", "s", "3", "5", "hats"]);
        check("用GPU训练，很快。", &["用", "gpu", "训", "练", "很", "快"]);
        check("naïve Ωmega", &["naïve", "ωmega"]);
        check(" \n…", &[]);
        assert_eq!(ascii_words("naïve 检索 R2"), ["na", "ve", "r2"]);
    }

    #[test]
    fn the_same_word_has_the_same_number() {
        let [left, right] = numbered(&words("a b a"), &words("c b"));
        assert_eq!((left, right), (vec![0, 1, 0], vec![2, 1]));
    }
}
