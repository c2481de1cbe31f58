//! The words that BLEU counts: sacrebleu's cuts `13a` and `zh`.

use super::words::Language;

/// Blocks of characters that `zh` takes for words by themselves.
///
/// Two look odd: sacrebleu spells `U+20000` to `U+2A6D6` and `U+2F800` to `U+2FA1D` with four digits
/// and a rest, which Python compares as strings, so that what it really tests are the two ranges
/// with a comment below. Scores can only agree if it is done likewise.
const SINGLE: [(char, char); 22] = [
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{9fa6}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    // Meant as extension B of the ideographs; among others, it holds the curly quotes.
    ('\u{2001}', '\u{2a6d}'),
    // Meant as the supplement of compatibility ideographs.
    ('\u{2f81}', '\u{2fa1}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
];

/// Cuts a text for BLEU: `13a` for English, `zh` for Chinese. Case is kept.
pub(crate) fn bleu_words(text: &str, language: Language) -> Vec<String> {
    let text = text.trim_end_matches(is_space);
    let text = match language {
        Language::English => format!(" {} ", plain(text)),
        Language::Chinese => apart(text.trim_start_matches(is_space)),
    };
    parted(&text).split(is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Joins what a line end has cut, and writes the four signs that markup escapes.
fn plain(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // One after the other, as mteval does it: `&amp;lt;` ends as `<`.
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    text.replace("&lt;", "<").replace("&gt;", ">")
}

/// Puts spaces around each Chinese character.
fn apart(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        match SINGLE.iter().any(|(first, last)| (*first..=*last).contains(&letter)) {
            true => spaced.extend([' ', letter, ' ']),
            false => spaced.push(letter),
        }
    }
    spaced
}

/// Parts signs from words; full stops and commas only where no digit stands on that side, and
/// dashes only after a digit.
fn parted(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        match is_sign(letter) {
            true => spaced.extend([' ', letter, ' ']),
            false => spaced.push(letter),
        }
    }
    let is_point = |letter: char| matches!(letter, '.' | ',');
    let no_digit = |letter: char| !letter.is_ascii_digit();
    let spaced = part_pairs(&spaced, (no_digit, is_point), |one, two| [one, ' ', two, ' ']);
    let spaced = part_pairs(&spaced, (is_point, no_digit), |one, two| [' ', one, ' ', two]);
    let is_digit = |letter: char| letter.is_ascii_digit();
    part_pairs(&spaced, (is_digit, |letter| letter == '-'), |one, two| [one, ' ', two, ' '])
}

/// Rewrites each pair of neighbours that two tests accept, from left to right; a character that
/// was a part of a pair is no part of the next.
fn part_pairs(
    text: &str,
    (is_first, is_second): (impl Fn(char) -> bool, impl Fn(char) -> bool),
    rewritten: impl Fn(char, char) -> [char; 4],
) -> String {
    let mut written = String::with_capacity(text.len() * 2);
    let mut letters = text.chars().peekable();
    while let Some(one) = letters.next() {
        match letters.next_if(|two| is_first(one) && is_second(*two)) {
            Some(two) => written.extend(rewritten(one, two)),
            None => written.push(one),
        }
    }
    written
}

/// ASCII signs other than `'`, `,`, `-` and `.`; and the space, which changes nothing.
fn is_sign(letter: char) -> bool {
    matches!(letter, ' '..='&' | '('..='+' | '/' | ':'..='@' | '['..='`' | '{'..='~')
}

/// What Python takes for white space: four separators of ASCII more than Unicode.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_parted_as_mteval_does() {
        let check = |text: &str, language, expected: &str| {
            assert_eq!(bleu_words(text, language).join(" "), expected, "{text:?}");
        };
        let english = Language::English;
        check("Hello, world.", english, "Hello , world .");
        check("3.14 and 1,000.", english, "3.14 and 1,000 .");
        check("It's 5-fold (or so)", english, "It's 5 - fold ( or so )");
        check("wait... &lt;b&gt; &amp;lt;", english, "wait . . . < b > <");
        check("a-\nb\nc", english, "ab c");
        check("  ", english, "");
        check("用 GPU训练，3.5倍。", Language::Chinese, "用 GPU 训 练 ， 3.5 倍 。");
    }
}
