//! Cuts a section into passages of bounded size, at block ends where possible.

use super::page::Block;

/// A passage is closed once it has this many words and the next block would pass [`WORDS_GOOD`].
const WORDS_MIN: usize = 60;
/// What a passage aims at: the beginning that an encoder of 256 tokens reads.
const WORDS_GOOD: usize = 130;
/// Most words of a passage, but for a code block that belongs to the paragraph before it.
const WORDS_MAX: usize = 200;
/// Most words and lines that are kept of one block of code.
const CODE_WORDS_MAX: usize = 90;
const CODE_LINES_MAX: usize = 24;
/// A passage with fewer words says too little to be found by.
const WORDS_DROPPED: usize = 18;
/// A passage with fewer words outside code is mostly a listing.
const PROSE_WORDS_DROPPED: usize = 8;

/// The passages of one section's blocks, in order.
pub(super) fn cut(blocks: &[Block]) -> Vec<String> {
    let pieces: Vec<Block> = blocks.iter().flat_map(pieces).collect();
    let mut groups: Vec<Vec<&Block>> = vec![Vec::new()];
    let mut words = 0;
    for piece in &pieces {
        let more = count_words(piece.text());
        let is_code = matches!(piece, Block::Code(_));
        let full = words >= WORDS_MIN && words + more > WORDS_GOOD;
        let over = words + more > WORDS_MAX;
        if words > 0 && (full && !is_code || over && !(is_code && words < WORDS_MIN)) {
            groups.push(Vec::new());
            words = 0;
        }
        groups.last_mut().expect("never empty").push(piece);
        words += more;
    }
    merge_tail(&mut groups);
    groups.iter().filter(|group| says_enough(group)).map(|group| join(group)).collect()
}

/// Adds a last group that is too short to the one before it, if both fit.
fn merge_tail(groups: &mut Vec<Vec<&Block>>) {
    let Some([before, tail]) = groups.last_chunk::<2>() else { return };
    let (before, tail) = (group_words(before), group_words(tail));
    if tail < WORDS_MIN / 2 && before + tail <= WORDS_MAX {
        let tail = groups.pop().expect("there are two");
        groups.last_mut().expect("there are two").extend(tail);
    }
}

fn group_words(group: &[&Block]) -> usize {
    group.iter().map(|block| count_words(block.text())).sum()
}

fn says_enough(group: &[&Block]) -> bool {
    let prose = group.iter().filter(|block| !matches!(block, Block::Code(_)));
    let prose: usize = prose.map(|block| count_words(block.text())).sum();
    prose >= PROSE_WORDS_DROPPED && group_words(group) >= WORDS_DROPPED
}

/// Blocks as one text: items and code on lines of their own, paragraphs apart.
fn join(group: &[&Block]) -> String {
    let mut text = String::new();
    for (at, block) in group.iter().enumerate() {
        if at > 0 {
            let list = matches!((group[at - 1], block), (Block::Item(_), Block::Item(_)));
            text.push_str(if list { "\n" } else { "\n\n" });
        }
        text.push_str(block.text());
    }
    text
}

/// A block, cut where it is too large for any passage.
fn pieces(block: &Block) -> Vec<Block> {
    match block {
        Block::Code(code) => vec![Block::Code(cut_code(code))],
        Block::Paragraph(text) => sentences(text).into_iter().map(Block::Paragraph).collect(),
        Block::Item(text) => sentences(text).into_iter().map(Block::Item).collect(),
    }
}

/// The beginning of a listing.
fn cut_code(code: &str) -> String {
    let mut kept = String::new();
    let mut words = 0;
    for (at, line) in code.trim_matches('\n').lines().enumerate() {
        words += count_words(line);
        if at >= CODE_LINES_MAX || words > CODE_WORDS_MAX && at > 0 {
            kept.push_str("\n…");
            break;
        }
        if at > 0 {
            kept.push('\n');
        }
        // A line of a minified file can be as long as the file.
        kept.extend(line.trim_end().chars().take(200));
    }
    kept
}

/// A text in pieces of at most [`WORDS_MAX`] words, cut behind sentences where there are any.
fn sentences(text: &str) -> Vec<String> {
    if count_words(text) <= WORDS_MAX {
        return vec![text.to_owned()];
    }
    let mut pieces = vec![String::new()];
    let mut words = 0;
    for sentence in text.split_inclusive(['.', '!', '?', '。', '！', '？', '；']) {
        for part in hard_split(sentence) {
            let more = count_words(part);
            if words > 0 && words + more > WORDS_GOOD {
                pieces.push(String::new());
                words = 0;
            }
            pieces.last_mut().expect("never empty").push_str(part);
            words += more;
        }
    }
    pieces.into_iter().map(|piece| piece.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// A sentence in parts of at most about [`WORDS_GOOD`] words.
fn hard_split(sentence: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut units = 0;
    for (at, c) in sentence.char_indices() {
        units += if is_wide(c) { 4 } else { usize::from(c.is_whitespace()) * 6 };
        if units >= WORDS_GOOD * 6 || at - start > WORDS_MAX * 40 {
            parts.push(&sentence[start..at]);
            (start, units) = (at, 0);
        }
    }
    parts.push(&sentence[start..]);
    parts
}

/// Words between spaces; of scripts without spaces, two words for three characters.
pub(super) fn count_words(text: &str) -> usize {
    let wide = text.chars().filter(|&c| is_wide(c)).count();
    let spaced = text.split_whitespace().filter(|word| !word.chars().all(is_wide)).count();
    spaced + wide * 2 / 3
}

fn is_wide(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert, prop_oneof, proptest};

    use super::*;

    fn prose(words: usize) -> Block {
        Block::Paragraph(vec!["word"; words].join(" ") + ".")
    }

    #[test]
    fn passages_are_of_good_size() {
        let check = |blocks: &[Block], expected: &[usize]| {
            let words: Vec<_> = cut(blocks).iter().map(|passage| count_words(passage)).collect();
            assert_eq!(words, expected);
        };
        check(&[prose(10)], &[]);
        check(&[prose(20)], &[20]);
        check(&[prose(50), prose(50), prose(50)], &[100, 50]);
        check(&[prose(70), prose(70), prose(20)], &[70, 90]);
        check(&[prose(120), prose(20)], &[140]);
        check(&[prose(450)], &[130, 130, 130, 60]);
        check(&[prose(30), prose(190)], &[30, 190]);
    }

    #[test]
    fn code_stays_with_its_paragraph_and_is_cut() {
        let code = Block::Code((0..100).map(|line| format!("let x = {line};\n")).collect());
        let passages = cut(&[prose(100), code.clone()]);
        assert_eq!(passages.len(), 1);
        assert!(passages[0].ends_with("\n…"), "{passages:?}");
        assert_eq!(cut(&[code]), [""; 0], "a listing alone is not a passage");
    }

    #[test]
    fn chinese_counts_by_characters() {
        assert_eq!(count_words("自然人从事工商业经营"), 6);
        assert_eq!(count_words("Rust 语言 is fast"), 4);
        let long = Block::Paragraph("法律规定，".repeat(200));
        assert!(cut(&[long]).iter().all(|passage| count_words(passage) <= WORDS_MAX));
    }

    fn block() -> impl Strategy<Value = Block> {
        prop_oneof![
            "[a-z .]{0,3000}".prop_map(Block::Paragraph),
            "[a-z .]{0,200}".prop_map(Block::Item),
            "[a-z (){};\n]{0,2000}".prop_map(Block::Code),
            "[法律。 a]{0,900}".prop_map(Block::Paragraph),
        ]
    }

    proptest! {
        #[test]
        fn no_passage_passes_its_bound(blocks in proptest::collection::vec(block(), 0..12)) {
            for passage in cut(&blocks) {
                let words = count_words(&passage);
                prop_assert!(words >= WORDS_DROPPED, "{words}");
                prop_assert!(words <= WORDS_MAX + CODE_WORDS_MAX + 10, "{words}: {passage}");
            }
        }
    }
}
