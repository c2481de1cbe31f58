//! From texts to token ids, and on to vectors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cotenant_transformer::{PlacedToken, TextIds, scale_to_unit};

use super::fault::{Fault, Kind};
use super::shared::{Chosen, Shared};
use super::stay::on_thread;
use super::wire::{Input, TokenView};
use crate::serve::engine::{Ask, Embedded, NotServed};
use crate::serve::model::Model;

/// Most texts of one request.
pub(super) const TEXTS_MAX: usize = 2048;
/// Texts that are tokenised before others get their turn.
const TEXTS_AT_A_TIME: usize = 16;

/// What becomes of a text that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooLong {
    /// Its end goes.
    Cut,
    /// The request is refused.
    Refused,
}

impl TooLong {
    /// What a request says, or what is usual.
    pub(super) fn of(truncate: Option<bool>) -> Self {
        match truncate {
            Some(false) => Self::Refused,
            Some(true) | None => Self::Cut,
        }
    }
}

/// What stands in front of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt<'a> {
    /// The prompt of this name, or the model's usual one.
    Named(Option<&'a str>),
    /// What the tenant or the model has for queries, if it has any.
    Query,
    /// The same for documents.
    Document,
}

/// How texts are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) prompt: Prompt<'a>,
    pub(super) too_long: TooLong,
}

/// How vectors are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) length: Length,
    /// First values that are kept.
    pub(super) dimensions: Option<usize>,
}

/// How long vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// As the model makes them.
    AsIs,
    /// 1.
    Unit,
}

/// Vectors of a request.
pub(super) struct Vectors {
    /// One a text.
    pub(super) rows: Vec<Vec<f32>>,
    pub(super) tokens: u64,
    pub(super) waited: Duration,
}

impl Vectors {
    /// What it took, as text-embeddings-inference says it.
    pub(super) fn headers(&self, begun: Instant) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: u64| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        };
        set("x-compute-tokens", self.tokens);
        set("x-queue-time", self.waited.as_millis() as u64);
        set("x-total-time", begun.elapsed().as_millis() as u64);
        headers
    }
}

impl Shared {
    /// The token ids of each text.
    pub(super) async fn read(
        &self,
        chosen: &Chosen,
        input: Input,
        reading: Reading<'_>,
    ) -> Result<Vec<Vec<u32>>, Fault> {
        let count = match &input {
            Input::Text(_) | Input::Ids(_) => 1,
            Input::Texts(texts) => texts.len(),
            Input::IdLists(lists) => lists.len(),
        };
        self.check_count(chosen, count)?;
        let tokens_max = self.tokens_max(chosen);
        match input {
            Input::Text(text) => self.tokenize(chosen, vec![text], reading).await,
            Input::Texts(texts) => self.tokenize(chosen, texts, reading).await,
            Input::Ids(ids) => Ok(vec![self.checked(ids, tokens_max, reading.too_long)?]),
            Input::IdLists(lists) => {
                let checked = |ids| self.checked(ids, tokens_max, reading.too_long);
                lists.into_iter().map(checked).collect()
            }
        }
    }

    /// Whether so many texts may come.
    fn check_count(&self, chosen: &Chosen, count: usize) -> Result<(), Fault> {
        if count == 0 {
            return Err(Fault::new(Kind::Empty, "there is no text in the input"));
        }
        if count > TEXTS_MAX {
            let message = format!("the input has {count} texts, and a request at most {TEXTS_MAX}");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        // Each text has its special tokens at least: what cannot fit costs no more than that look.
        let least = count * self.model.tokenizer.special_tokens();
        Ok(self.engine.check(&chosen.tenant, least as u64)?)
    }

    /// The vectors of documents that are searched, or of queries for them.
    pub(super) async fn embed_for_search(
        &self,
        chosen: &Chosen,
        (prompt, texts): (Prompt<'_>, Vec<String>),
        deadline: Instant,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let reading = Reading { prompt, too_long: TooLong::Cut };
        let texts = self.read(chosen, Input::Texts(texts), reading).await?;
        let shape = Shape { length: Length::Unit, dimensions: None };
        Ok(self.embed(chosen, texts, (shape, deadline)).await?.rows)
    }

    /// Their vectors; a reranker has none.
    pub(super) async fn embed(
        &self,
        chosen: &Chosen,
        texts: Vec<Vec<u32>>,
        (shape, deadline): (Shape, Instant),
    ) -> Result<Vectors, Fault> {
        chosen.check_embeds()?;
        let width = self.model.width();
        let dimensions = shape.dimensions.unwrap_or(width);
        if !(1..=width).contains(&dimensions) {
            let message = format!("dimensions is {dimensions}, and must be from 1 to {width}");
            return Err(Fault::invalid(message));
        }
        let texts: Vec<TextIds> = texts.into_iter().map(TextIds::alone).collect();
        let tokens = texts.iter().map(|text| text.ids.len() as u64).sum();
        let (tenant, adapter) = (chosen.tenant.clone(), chosen.adapter.clone());
        let embedded = self.answer(Ask { tenant, adapter, texts, deadline }).await?;
        let mut rows = Vec::with_capacity(embedded.values.len() / width);
        for (at, row) in embedded.values.chunks_exact(width).enumerate() {
            if !row.iter().all(|value| value.is_finite()) {
                let message = format!("text {at} has no finite embedding under {:?}", chosen.name);
                return Err(Fault::new(Kind::Backend, message));
            }
            let mut row = row[..dimensions].to_vec();
            if shape.length == Length::Unit {
                scale_to_unit(&mut row);
            }
            rows.push(row);
        }
        Ok(Vectors { rows, tokens, waited: embedded.waited })
    }

    /// What the engine makes of texts by their deadline; their turn may come long after nobody
    /// waits for it any more.
    pub(super) async fn answer(&self, ask: Ask) -> Result<Embedded, Fault> {
        let deadline = ask.deadline;
        let answer = self.engine.embed(ask)?;
        let answer = tokio::time::timeout_at(deadline.into(), answer).await;
        Ok(answer.map_err(|_| NotServed::Late)?.map_err(|_| Fault::ending())??)
    }

    /// Most tokens of a text.
    pub(super) fn tokens_max(&self, chosen: &Chosen) -> usize {
        let own = chosen.adapter.as_ref().and_then(|loaded| loaded.source.tokens_max);
        self.model.folder.tokens_max().min(own.unwrap_or(usize::MAX))
    }

    /// What stands in front of each text.
    pub(super) fn prefix(&self, chosen: &Chosen, prompt: Prompt<'_>) -> Result<String, Fault> {
        let (folder, loaded) = (&self.model.folder, chosen.adapter.as_ref());
        let own = loaded.and_then(|loaded| loaded.source.prefixes.as_ref());
        let prompts = folder.prompts();
        let of_model = |names: &[&str]| {
            names.iter().find_map(|&name| prompts.get(name)).cloned().unwrap_or_default()
        };
        Ok(match (prompt, own) {
            (Prompt::Query | Prompt::Named(Some("query")), Some(own)) => own.query.clone(),
            (Prompt::Document | Prompt::Named(Some("document")), Some(own)) => own.document.clone(),
            (Prompt::Named(None), Some(_)) => String::new(),
            (Prompt::Query, None) => of_model(&["query"]),
            (Prompt::Document, None) => of_model(&["document", "passage"]),
            (Prompt::Named(None), None) => {
                folder.default_prompt_name().map(|name| of_model(&[name])).unwrap_or_default()
            }
            (Prompt::Named(Some(name)), _) => match prompts.get(name) {
                Some(prompt) => prompt.clone(),
                None => {
                    let known: Vec<&str> = prompts.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    let message = format!("there is no prompt {name:?}; the model has {known}");
                    return Err(Fault::invalid(message));
                }
            },
        })
    }

    /// The tokens of each text, and where they stand in it.
    pub(super) async fn placed(
        &self,
        chosen: &Chosen,
        texts: Vec<String>,
        prompt: Prompt<'_>,
    ) -> Result<Vec<Vec<TokenView>>, Fault> {
        self.check_count(chosen, texts.len())?;
        let tokens_max = self.tokens_max(chosen);
        let look = move |model: &Model, text: &str| placed(model, text, tokens_max);
        self.each(chosen, (texts, prompt), look).await
    }

    async fn tokenize(
        &self,
        chosen: &Chosen,
        texts: Vec<String>,
        reading: Reading<'_>,
    ) -> Result<Vec<Vec<u32>>, Fault> {
        let limits = (self.tokens_max(chosen), reading.too_long);
        let look = move |model: &Model, text: &str| encode(model, text, limits);
        self.each(chosen, (texts, reading.prompt), look).await
    }

    /// Looks at a few texts at a time, each with its prompt in front of it, so that a request of many
    /// keeps none of few waiting. A thread has its turn until it is done, whether the client is still
    /// there or not.
    async fn each<T: Send + 'static>(
        &self,
        chosen: &Chosen,
        (texts, prompt): (Vec<String>, Prompt<'_>),
        look: impl Fn(&Model, &str) -> Result<T, Fault> + Copy + Send + 'static,
    ) -> Result<Vec<T>, Fault> {
        let prefix: Arc<str> = self.prefix(chosen, prompt)?.into();
        let mut all = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter();
        loop {
            let some: Vec<String> = texts.by_ref().take(TEXTS_AT_A_TIME).collect();
            if some.is_empty() {
                return Ok(all);
            }
            let turn = self.tokenizing.clone().acquire_owned().await;
            let turn = turn.map_err(|_| Fault::ending())?;
            let (model, prefix) = (self.model.clone(), prefix.clone());
            let work = move || {
                let _turn = turn;
                let one = |text: &String| match prefix.is_empty() {
                    true => look(&model, text),
                    false => look(&model, &format!("{prefix}{text}")),
                };
                some.iter().map(one).collect::<Result<Vec<_>, Fault>>()
            };
            all.extend(on_thread(work).await??);
        }
    }

    /// Token ids that a client sent.
    fn checked(
        &self,
        mut ids: Vec<u32>,
        tokens_max: usize,
        too_long: TooLong,
    ) -> Result<Vec<u32>, Fault> {
        let vocab = self.model.folder.config().vocab;
        if ids.is_empty() {
            return Err(Fault::new(Kind::Empty, "a list of token ids is empty"));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Fault::invalid(format!(
                "token id {id} is not one of the {vocab} that the model has\n\
                 hint: send texts; with LangChain, set check_embedding_ctx_length to False"
            )));
        }
        if ids.len() > tokens_max {
            check_length(ids.len(), (tokens_max, too_long))?;
            ids.truncate(tokens_max);
        }
        Ok(ids)
    }
}

fn encode(
    model: &Model,
    text: &str,
    (tokens_max, too_long): (usize, TooLong),
) -> Result<Vec<u32>, Fault> {
    let most = match too_long {
        TooLong::Cut => tokens_max,
        TooLong::Refused => tokens_max + 1,
    };
    let ids = model.tokenizer.encode(text, most).map_err(Fault::invalid)?;
    check_length(ids.len(), (tokens_max, too_long))?;
    Ok(ids)
}

fn placed(model: &Model, text: &str, tokens_max: usize) -> Result<Vec<TokenView>, Fault> {
    let tokenizer = &model.tokenizer;
    let tokens = tokenizer.encode_with_places(text, tokens_max).map_err(Fault::invalid)?;
    let mut slices = Slices::new(text);
    let view = |PlacedToken { id, place }: PlacedToken| TokenView {
        id,
        text: match place {
            None => tokenizer.piece(id).unwrap_or_default(),
            Some(place) => slices.of(place).to_owned(),
        },
        special: place.is_none(),
        start: place.map(|(start, _)| start),
        stop: place.map(|(_, stop)| stop),
    };
    Ok(tokens.into_iter().map(view).collect())
}

/// Parts of a text by characters, cheap where they come in the text's order.
struct Slices<'a> {
    text: &'a str,
    /// A place that was looked for before: characters and bytes.
    known: (usize, usize),
}

impl<'a> Slices<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, known: (0, 0) }
    }

    fn of(&mut self, (start, stop): (usize, usize)) -> &'a str {
        let start = self.byte(start);
        &self.text[start..self.byte(stop).max(start)]
    }

    /// The byte at which a character begins; the text's end for one behind it.
    fn byte(&mut self, character: usize) -> usize {
        if character < self.known.0 {
            self.known = (0, 0);
        }
        let (characters, bytes) = self.known;
        let rest = &self.text[bytes..];
        let more = rest.char_indices().nth(character - characters).map(|(at, _)| at);
        let byte = bytes + more.unwrap_or(rest.len());
        if more.is_some() {
            self.known = (character, byte);
        }
        byte
    }
}

fn check_length(tokens: usize, (tokens_max, too_long): (usize, TooLong)) -> Result<(), Fault> {
    match tokens > tokens_max && too_long == TooLong::Refused {
        true => Err(Fault::invalid(format!(
            "a text has more than {tokens_max} tokens; send it in parts, or set truncate to true"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_text_are_found_by_characters() {
        let text = "aä語🙂z";
        let mut slices = Slices::new(text);
        for (place, expected) in [
            ((0, 1), "a"),
            ((1, 3), "ä語"),
            ((3, 5), "🙂z"),
            ((2, 3), "語"),
            ((5, 5), ""),
            ((4, 9), "z"),
            ((9, 9), ""),
            ((3, 1), ""),
        ] {
            assert_eq!(slices.of(place), expected, "{place:?}");
        }
    }
}
