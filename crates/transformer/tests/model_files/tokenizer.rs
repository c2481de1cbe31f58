//! Text to ids: truncation of our own, long texts, and tokenizers that do not fit.

use std::fs;
use std::time::{Duration, Instant};

use cotenant_transformer::random::mix;
use cotenant_transformer::{ModelError, ModelFolder, Tokenizer};
use serde_json::{Value, json};

use crate::fixture::{Tiny, check_error, config, tokenizer};

fn load(tiny: &Tiny) -> Result<Tokenizer, ModelError> {
    ModelFolder::open(tiny.path())?.tokenizer()
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, ModelError> {
    let tiny = Tiny::new();
    let mut tokenizer = tokenizer();
    change(&mut tokenizer);
    tiny.json("tokenizer.json", &tokenizer);
    load(&tiny)
}

/// The whole text through the library.
fn whole(tokenizer: &Value, text: &str) -> Vec<u32> {
    let mut inner: tokenizers::Tokenizer = tokenizer.to_string().parse().unwrap();
    inner.with_padding(None);
    inner.with_truncation(None).unwrap();
    inner.encode(text, true).unwrap().get_ids().to_vec()
}

#[test]
fn padding_and_truncation_of_the_file_are_reset() {
    let tokenizer = changed(|_| {}).unwrap();
    assert_eq!(tokenizer.special_tokens(), 2);
    let cases: [(&str, usize, &[u32]); 8] = [
        ("", 16, &[2, 3]),
        ("   \n\t ", 16, &[2, 3]),
        ("the cat", 16, &[2, 5, 6, 3]),
        ("The CAT sat on the mats.", 16, &[2, 5, 6, 7, 8, 5, 9, 10, 13, 3]),
        ("The cat sat on the mats.", 6, &[2, 5, 6, 7, 8, 3]),
        ("The cat sat on the mats.", 3, &[2, 5, 3]),
        ("The cat sat on the mats.", 2, &[2, 3]),
        ("cat [SEP] 猫", 16, &[2, 6, 3, 1, 3]),
    ];
    for (text, tokens_max, expected) in cases {
        assert_eq!(tokenizer.encode(text, tokens_max).unwrap(), expected, "{text:?}");
    }
    let parts = ["a text of 7 bytes", "1 tokens do not hold the 2 special ones"];
    check_error(tokenizer.encode("the cat", 1), &parts);
}

/// Checks that a text gives the ids of the whole text, cut, under any length.
#[track_caller]
fn check_cut(tokenizer: &Tokenizer, file: &Value, name: &str, text: &str) {
    let whole = whole(file, text);
    for tokens_max in [2, 3, 16, 128, 512] {
        let mut expected = whole.clone();
        if expected.len() > tokens_max {
            expected.truncate(tokens_max - 1);
            expected.push(3);
        }
        let found = tokenizer.encode(text, tokens_max).unwrap();
        assert!(found == expected, "{name}, {tokens_max} tokens");
    }
}

#[test]
fn only_a_part_of_a_long_text_is_read_with_the_same_result() {
    let tokenizer = changed(|_| {}).unwrap();
    let blanks = |text: &str, every: usize| format!("{text}{}", " ".repeat(every)).repeat(200);
    let texts = [
        ("words", "the cat sat on the mats. ".repeat(20_000)),
        ("short words", "a ".repeat(100_000)),
        ("one word without end", "a".repeat(300_000)),
        ("a word without end, then words", "a".repeat(50_000) + &" cat".repeat(600)),
        ("words of 99 characters", ("a".repeat(99) + " ").repeat(3000)),
        ("words of 101 characters", ("a".repeat(101) + " ").repeat(3000)),
        ("no white space", "猫".repeat(100_000)),
        ("no white space, many pieces", "cats.".repeat(60_000)),
        ("blanks between words", blanks("cat", 2000)),
        ("blanks first", " ".repeat(200_000) + &"the cat ".repeat(1000)),
        ("control characters", "\u{1}\u{2}\u{200b}".repeat(50_000) + "hello world"),
        ("combining marks", "a\u{301}\u{302} ".repeat(50_000)),
        ("marks without end", "a".to_owned() + &"\u{301}".repeat(100_000) + " cat"),
    ];
    for (name, text) in &texts {
        check_cut(&tokenizer, &crate::fixture::tokenizer(), name, text);
    }
}

#[test]
fn the_other_kinds_of_tokenizers_are_cut_as_safely() {
    // Byte-level BPE as RoBERTa's, and Unigram as XLM-R's: pieces may hold the blank before a word.
    let bytes =
        ["<s>", "<pad>", "<unk>", "</s>", "Ġ", "c", "a", "t", "s", ".", "Ċ", "at", "cat", "Ġcat"];
    let ids = |pieces: &[&str]| -> Value {
        pieces.iter().enumerate().map(|(id, piece)| ((*piece).to_owned(), json!(id))).collect()
    };
    let bpe = json!({ "type": "BPE", "dropout": null, "unk_token": "<unk>",
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
        "byte_fallback": false, "vocab": ids(&bytes),
        "merges": [["a", "t"], ["c", "at"], ["Ġ", "cat"]] });
    let pieces = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("<unk>", 0.0),
        ("</s>", 0.0),
        ("▁", -3.0),
        ("▁cat", -2.0),
        ("cat", -4.0),
        ("c", -5.0),
        ("a", -5.0),
        ("at", -4.5),
        ("t", -5.0),
        ("s", -4.0),
        (".", -3.0),
        ("猫猫", -3.5),
        ("猫", -4.0),
    ];
    let unigram =
        json!({ "type": "Unigram", "unk_id": 2, "byte_fallback": false, "vocab": pieces });
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true });
    let meta = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
        "split": true });
    let run = |at: u64| "猫".repeat((mix(&[at]) % 60) as usize) + "cat.";
    let runs: String = (0..2000).map(run).collect();
    let texts = [
        ("words", "cat cats. ".repeat(20_000)),
        ("lines", "cat\ncat\n\n  cats. ".repeat(10_000)),
        ("blanks", format!("cat{}", " ".repeat(300)).repeat(300)),
        ("one word", "cat".repeat(50_000)),
        ("runs of any length without white space", runs),
    ];
    for (model, pre_tokenizer, normalizer) in
        [(bpe, level, Value::Null), (unigram, meta, json!({ "type": "NFKC" }))]
    {
        let mut file = tokenizer();
        file["added_tokens"] = json!([]);
        file["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([0]);
        (file["model"], file["pre_tokenizer"]) = (model, pre_tokenizer);
        file["normalizer"] = normalizer;
        let tokenizer = changed(|value| *value = file.clone()).unwrap();
        for (name, text) in &texts {
            check_cut(&tokenizer, &file, &format!("{} {name}", file["model"]["type"]), text);
        }
    }
}

#[test]
fn a_text_of_ten_megabytes_is_soon_done() {
    let tokenizer = changed(|_| {}).unwrap();
    let bytes = 10_000_000;
    let texts = [
        "the cat sat on the mats. ".repeat(bytes / 25),
        "a".repeat(bytes),
        " ".repeat(bytes),
        "猫".repeat(bytes / 3),
        "a\u{301}".repeat(bytes / 3),
        "[SEP]".repeat(bytes / 5),
    ];
    for text in &texts {
        let began = Instant::now();
        let ids = tokenizer.encode(text, 512).unwrap();
        assert!(ids.len() <= 512 && ids.first() == Some(&2) && ids.last() == Some(&3));
        // Much more than it takes on a busy core, and less than reading all of it would.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn one_tokenizer_serves_all_threads() {
    let tokenizer = changed(|_| {}).unwrap();
    let expected = tokenizer.encode("the cat sat on the mats.", 16).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let ids = tokenizer.encode("the cat sat on the mats.", 16).unwrap();
                    assert_eq!(ids, expected);
                }
            });
        }
    });
}

#[test]
fn texts_are_lower_cased_where_the_folder_says_so() {
    let tiny = Tiny::new();
    let mut cased = tokenizer();
    cased["normalizer"]["lowercase"] = json!(false);
    tiny.json("tokenizer.json", &cased);
    assert_eq!(load(&tiny).unwrap().encode("The Cat", 16).unwrap(), [2, 1, 1, 3]);
    tiny.json("sentence_bert_config.json", &json!({ "do_lower_case": true }));
    assert_eq!(load(&tiny).unwrap().encode("The Cat", 16).unwrap(), [2, 5, 6, 3]);
    // A letter that becomes two when it is small.
    check_places(&load(&tiny).unwrap(), "\u{130} The Cat", &["\u{130}", "The", "Cat"]);
}

/// Checks what of a text each token but the special ones stands for.
#[track_caller]
fn check_places(tokenizer: &Tokenizer, text: &str, expected: &[&str]) {
    let letters: Vec<char> = text.chars().collect();
    for tokens_max in [2, 4, 64] {
        let tokens = tokenizer.encode_with_places(text, tokens_max).unwrap();
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(ids, tokenizer.encode(text, tokens_max).unwrap(), "{text:?}");
        let (first, last) = (tokens.first().unwrap(), tokens.last().unwrap());
        assert_eq!((first.place, last.place), (None, None), "{text:?}");
        let places = tokens[1..tokens.len() - 1].iter().map(|token| token.place.unwrap());
        let parts: Vec<String> =
            places.map(|(start, stop)| letters[start..stop].iter().collect()).collect();
        assert_eq!(parts, expected[..expected.len().min(tokens_max - 2)], "{text:?}");
    }
}

#[test]
fn tokens_know_where_in_the_text_they_stand() {
    let tokenizer = changed(|_| {}).unwrap();
    check_places(&tokenizer, "", &[]);
    check_places(&tokenizer, "  The cats, SAT ", &["The", "cat", "s", ",", "SAT"]);
    check_places(&tokenizer, "ä the 猫cat", &["ä", "the", "猫", "cat"]);
    check_places(&tokenizer, "\u{1}cat 🙂 mat", &["cat", "🙂", "mat"]);
    // What is not read of a long text changes no place.
    let long = "the cat ".repeat(50_000);
    let tokens = tokenizer.encode_with_places(&long, 6).unwrap();
    let places: Vec<_> = tokens.iter().filter_map(|token| token.place).collect();
    assert_eq!(places, [(0, 3), (4, 7), (8, 11), (12, 15)]);
}

#[test]
fn tokenizers_that_do_not_fit_the_model_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &[&str]); 8] = [
        (
            |value| value["post_processor"]["special_tokens"] = json!({}),
            &["the tokenizers library gave up on it"],
        ),
        (
            |value| value["model"]["vocab"]["extra"] = json!(16),
            &["its token \"extra\" has id 16", "the model has 16 word pieces", "hint: "],
        ),
        (
            |value| value["model"]["vocab"]["extra"] = json!(4_000_000_000u32),
            &["its token \"extra\" has id 4000000000"],
        ),
        (
            |value| value["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([99]),
            &["its token \"a special\" has id 99", "hint: "],
        ),
        (|value| value["post_processor"] = Value::Null, &["adds no special tokens", "hint: "]),
        (|value| value["model"] = json!({ "type": "Unknown" }), &["it is broken"]),
        (|value| *value = json!({}), &["it is broken"]),
        (
            |value| {
                value["model"] = json!({ "type": "BPE", "dropout": 0.1, "unk_token": null,
                    "continuing_subword_prefix": null, "end_of_word_suffix": null,
                    "fuse_unk": false, "byte_fallback": false, "vocab": { "a": 0 }, "merges": [] });
            },
            &["drops merges at random", "hint: "],
        ),
    ];
    for (change, parts) in cases {
        check_error(changed(change), parts);
        check_error(changed(change), &["failed to load tokenizer", "tokenizer.json"]);
    }
}

#[test]
fn a_missing_tokenizer_is_explained_by_what_lies_there() {
    let tiny = Tiny::new();
    tiny.remove("tokenizer.json");
    check_error(load(&tiny), &["failed to find", "as tokenizer.json"]);
    tiny.bytes("vocab.txt", b"[PAD]\n");
    check_error(load(&tiny), &["the folder has only vocab.txt", "AutoTokenizer"]);
    fs::create_dir(tiny.at("tokenizer.json")).unwrap();
    check_error(load(&tiny), &["failed to read", "tokenizer.json"]);
}

#[test]
fn a_word_without_a_piece_and_without_unknown_is_an_error() {
    let tokenizer = changed(|value| value["model"]["unk_token"] = json!("[NONE]")).unwrap();
    check_error(tokenizer.encode("zzz", 16), &["failed to tokenise a text of 3 bytes"]);
    assert_eq!(config()["vocab_size"], json!(16));
}
