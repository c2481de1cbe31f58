//! From text to token ids.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::{Encoding, ModelWrapper, Token};

use super::json::read_bytes;
use super::pair::{PairTemplate, TextIds};
use super::{EncoderConfig, ModelError};

/// Longest `tokenizer.json` that is read; that of XLM-R, with 250,000 pieces, has 17 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// How much of a text is tokenised at first: this much, and some for every token that is wanted.
const PREFIX_BYTES: usize = 4 << 10;
const PREFIX_BYTES_PER_TOKEN: usize = 16;

/// How much of a text is tokenised at most: this much, or some for every token that is wanted.
const PREFIX_BYTES_MAX: usize = 1 << 20;
const PREFIX_BYTES_MAX_PER_TOKEN: usize = 64;

/// Longest word, in bytes, that a cut is moved back to stay clear of.
const WORD_BYTES_MAX: usize = 1 << 10;

/// How many tokens before a cut may come out otherwise than in the whole text; WordPiece looks at
/// words of at most 100 characters, which are at most as many tokens.
const UNSURE_TOKENS: usize = 128;

/// A tokenizer that belongs to a model: its ids are rows of the model's table. One is shared by
/// all threads.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocab: usize,
    lowercase: bool,
    /// The special tokens in front of a text, `[CLS]` or `<s>`.
    opening: Vec<u32>,
    /// The special tokens behind it, `[SEP]` or `</s>`.
    closing: Vec<u32>,
    /// How two texts are read together, or why they cannot be.
    pair: Result<PairTemplate, String>,
}

/// A token, and where in the text it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedToken {
    /// Its id.
    pub id: u32,
    /// Where it begins and ends, in characters; none for the special ones around a text.
    pub place: Option<(usize, usize)>,
}

/// Whether tokens are to know where they stand, which costs time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Places {
    /// They are not.
    None,
    /// In characters.
    Characters,
}

impl Tokenizer {
    /// Name of the file in a model folder.
    pub(crate) const FILE: &str = "tokenizer.json";

    /// Reads a `tokenizer.json` for a model of this shape.
    pub(crate) fn read(
        path: &Path,
        config: &EncoderConfig,
        lowercase: bool,
    ) -> Result<Self, ModelError> {
        let vocab = config.vocab;
        let wrong = |reason: String| ModelError::Tokenizer { path: path.to_owned(), reason };
        let Some(bytes) = read_bytes(path, FILE_BYTES_MAX)? else {
            return Err(missing(path));
        };
        let json: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
        drop(bytes);
        let (inner, opening, closing) = guarded(|| build(json)).map_err(wrong)?;
        let of_vocabulary = inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        let pair = guarded(|| PairTemplate::of(&inner, config.token_types));
        let between = pair.iter().flat_map(PairTemplate::special_tokens);
        let of_template = opening.iter().chain(&closing).chain(between).max();
        let of_template = of_template.map(|id| ("a special".into(), *id));
        for (token, id) in of_vocabulary.into_iter().chain(of_template) {
            if id as usize >= vocab {
                return Err(wrong(format!(
                    "its token {token:?} has id {id}, but the model has {vocab} word pieces \
                     (vocab_size)\n\
                     hint: take tokenizer.json, config.json and the weights from the same model"
                )));
            }
        }
        Ok(Self { inner, vocab, lowercase, opening, closing, pair })
    }

    /// The ids of a text between its special tokens, at most `tokens_max` with them: what is too
    /// long loses its end, but never its closing special token.
    ///
    /// Only as much of the text is read as decides those ids, so that a text of many megabytes
    /// costs no more than a long one. A prefix that ends before white space decides them, since all
    /// these tokenizers split words there. Where there is none (Chinese, Thai), what follows a cut
    /// can change only the word that it cuts, or in a Unigram model the pieces back to the last
    /// place where all ways of splitting agree; so the ids that are kept must end 128 tokens before
    /// it, and only one character repeated over kilobytes has no such place. A prefix with too few
    /// tokens is lengthened, up to 1 MiB or 64 bytes a token: a text that is as thin as that is
    /// blanks or one endless word, and what lies behind them is not read.
    pub fn encode(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, ModelError> {
        let (encoding, count) = self.checked_content(text, (tokens_max, Places::None))?;
        let mut ids = Vec::with_capacity(self.special_tokens() + count);
        ids.extend_from_slice(&self.opening);
        ids.extend_from_slice(&encoding.get_ids()[..count]);
        ids.extend_from_slice(&self.closing);
        Ok(ids)
    }

    /// The tokens that [`Tokenizer::encode`] gives, with their places in the text.
    pub fn encode_with_places(
        &self,
        text: &str,
        tokens_max: usize,
    ) -> Result<Vec<PlacedToken>, ModelError> {
        let (encoding, count) = self.checked_content(text, (tokens_max, Places::Characters))?;
        let characters = self.lowercase.then(|| characters_before(text));
        let in_text = |at: usize| match &characters {
            None => at,
            Some(characters) => characters.get(at).copied().unwrap_or(at),
        };
        let special = |ids: &[u32]| -> Vec<PlacedToken> {
            ids.iter().map(|&id| PlacedToken { id, place: None }).collect()
        };
        let placed = |(&id, &(start, stop)): (&u32, &(usize, usize))| {
            let place = Some((in_text(start), in_text(stop)));
            PlacedToken { id, place }
        };
        let mut tokens = special(&self.opening);
        let content = encoding.get_ids().iter().zip(encoding.get_offsets());
        tokens.extend(content.take(count).map(placed));
        tokens.extend(special(&self.closing));
        Ok(tokens)
    }

    /// A text without special tokens, and how many of its tokens fit beside these.
    fn checked_content(
        &self,
        text: &str,
        (tokens_max, places): (usize, Places),
    ) -> Result<(Encoding, usize), ModelError> {
        let failed = |reason| ModelError::Encode { bytes: text.len(), reason };
        let special = self.special_tokens();
        if tokens_max < special {
            let reason = format!("{tokens_max} tokens do not hold the {special} special ones");
            return Err(failed(reason));
        }
        let content_max = tokens_max - special;
        let content = self.content(text, (content_max, places)).map_err(failed)?;
        let count = content.len().min(content_max);
        if let Some(id) = content.get_ids()[..count].iter().find(|id| **id as usize >= self.vocab) {
            let reason = format!("token id {id} is outside the model's {} pieces", self.vocab);
            return Err(failed(reason));
        }
        Ok((content, count))
    }

    /// Joins a query and a document, as [`Tokenizer::encode`] gave them, to what a cross-encoder
    /// reads: `[CLS] query [SEP] document [SEP]`, at most `tokens_max` tokens. What is too long loses
    /// the end of the document, and of the query only where less than a quarter would be left for the
    /// document.
    pub fn join(
        &self,
        query: &[u32],
        document: &[u32],
        tokens_max: usize,
    ) -> Result<TextIds, ModelError> {
        let failed = |reason| ModelError::Join { reason };
        let template = self.pair.as_ref().map_err(|reason| failed(reason.clone()))?;
        let special = template.special_tokens().count();
        if tokens_max < special {
            let reason = format!("{tokens_max} tokens do not hold the {special} special ones");
            return Err(failed(reason));
        }
        let (query, document) = (self.without_special(query), self.without_special(document));
        let room = tokens_max - special;
        let kept = query.len().min(room - document.len().min(room / 4));
        let document = &document[..document.len().min(room - kept)];
        Ok(template.join(&query[..kept], document))
    }

    /// How many special tokens two texts get that are read together; none where they cannot be.
    pub fn special_tokens_of_pair(&self) -> usize {
        self.pair.iter().flat_map(PairTemplate::special_tokens).count()
    }

    /// How many special tokens every text gets.
    pub fn special_tokens(&self) -> usize {
        self.opening.len() + self.closing.len()
    }

    /// The vocabulary's piece of an id, if it has one.
    pub fn piece(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The ids that [`Tokenizer::encode`] gave, but for those it put around them.
    fn without_special<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        let from = self.opening.len().min(ids.len());
        &ids[from..ids.len().saturating_sub(self.closing.len()).max(from)]
    }

    /// At least the first `tokens` tokens of a text without special ones, or all if it has fewer.
    fn content(&self, text: &str, (tokens, places): (usize, Places)) -> Result<Encoding, String> {
        let most = PREFIX_BYTES_MAX.max(tokens.saturating_mul(PREFIX_BYTES_MAX_PER_TOKEN));
        let mut bytes = PREFIX_BYTES.saturating_add(tokens.saturating_mul(PREFIX_BYTES_PER_TOKEN));
        loop {
            let prefix = cut(text, bytes);
            let encode = || {
                let prefix = match self.lowercase {
                    true => Cow::Owned(prefix.to_lowercase()),
                    false => Cow::Borrowed(prefix),
                };
                match places {
                    Places::None => self.inner.encode_fast(prefix, false),
                    Places::Characters => self.inner.encode_char_offsets(prefix, false),
                }
                .map_err(|error| error.to_string())
            };
            let encoding = guarded(encode)?;
            let decided = encoding.len() >= tokens.saturating_add(UNSURE_TOKENS);
            if decided || prefix.len() == text.len() || bytes >= most {
                return Ok(encoding);
            }
            bytes = bytes.saturating_mul(4).min(most);
        }
    }
}

/// A tokenizer and the special tokens that it puts in front of and behind a text.
type Built = (tokenizers::Tokenizer, Vec<u32>, Vec<u32>);

fn build(json: serde_json::Value) -> Result<Built, String> {
    let mut inner: tokenizers::Tokenizer =
        serde_json::from_value(json).map_err(|error| format!("it is broken: {error}"))?;
    // Both are often left in the file by whoever saved it; texts here are never padded, and are
    // cut by `encode`.
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| error.to_string())?;
    if let ModelWrapper::BPE(bpe) = inner.get_model()
        && bpe.dropout.is_some_and(|rate| rate > 0.0)
    {
        return Err("its BPE drops merges at random\nhint: set dropout to null".to_owned());
    }
    let (opening, closing) = special_tokens(&inner)?;
    Ok((inner, opening, closing))
}

/// Runs a part of the tokenizers library, which panics on some broken files (a template that names
/// a token it does not define), so that such a file is an error like others.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("no reason");
        Err(format!("the tokenizers library gave up on it: {said}"))
    })
}

/// At most `bytes` of a text, ending before white space if there is some within a word's length.
fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let prefix = &text[..end];
    match prefix.rfind(char::is_whitespace) {
        Some(at) if at + WORD_BYTES_MAX >= prefix.len() => prefix[..at].trim_end(),
        _ => prefix,
    }
}

/// For each place between characters of a text in small letters, the characters before it in the
/// text as it is: a few letters become two.
fn characters_before(text: &str) -> Vec<usize> {
    let begun = |(at, letter): (usize, char)| letter.to_lowercase().map(move |_| at);
    let ends = std::iter::once(text.chars().count());
    text.chars().enumerate().flat_map(begun).chain(ends).collect()
}

/// The ids that the post-processor puts in front of and behind a text, found by giving it one
/// token that cannot be special.
fn special_tokens(inner: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let probe = Encoding::from_tokens(vec![Token::new(u32::MAX, String::new(), (0, 0))], 0);
    let encoding = inner.post_process(probe, None, true).map_err(|error| error.to_string())?;
    let ids = encoding.get_ids();
    let at = ids.iter().position(|id| *id == u32::MAX);
    match at {
        Some(at) if ids.len() > 1 => Ok((ids[..at].to_vec(), ids[at + 1..].to_vec())),
        _ => Err("its post-processor adds no special tokens, so that an empty text has none\n\
                  hint: save it with the template of the model, such as [CLS] $A [SEP]"
            .to_owned()),
    }
}

fn missing(path: &Path) -> ModelError {
    let folder = path.parent().unwrap_or(Path::new(""));
    let old = ["vocab.txt", "vocab.json", "sentencepiece.bpe.model"]
        .iter()
        .find(|name| folder.join(name).exists());
    let hint = match old {
        Some(old) => format!(
            "the folder has only {old}; convert it with transformers: \
             AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        ),
        None => "the folder must hold the model's tokenizer as tokenizer.json".to_owned(),
    };
    ModelError::Missing { path: PathBuf::from(path), hint }
}
