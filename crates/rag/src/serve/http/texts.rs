//! From texts to token ids, and on to vectors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cotenant_transformer::{TextIds, scale_to_unit};

use super::fault::{Fault, Kind};
use super::shared::{Chosen, Shared};
use super::wire::Input;
use crate::serve::engine::Ask;
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
        if count == 0 {
            return Err(Fault::new(Kind::Empty, "there is no text in the input"));
        }
        if count > TEXTS_MAX {
            let message = format!("the input has {count} texts, and a request at most {TEXTS_MAX}");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        // Each text has its special tokens at least: what cannot fit costs no more than that look.
        let least = count * self.model.tokenizer.special_tokens();
        self.engine.check(&chosen.tenant, least as u64)?;
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

    /// The vectors by which documents are searched for queries.
    pub(super) async fn embed_queries(
        &self,
        chosen: &Chosen,
        queries: Vec<String>,
        deadline: Instant,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let reading = Reading { prompt: Prompt::Query, too_long: TooLong::Cut };
        let texts = self.read(chosen, Input::Texts(queries), reading).await?;
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
        if chosen.reranker().is_some() {
            let name = &chosen.name;
            let message = format!(
                "{name:?} is a reranker and embeds nothing\n\
                 hint: ask POST /rerank, or name another model"
            );
            return Err(Fault::invalid(message));
        }
        let width = self.model.width();
        let dimensions = shape.dimensions.unwrap_or(width);
        if !(1..=width).contains(&dimensions) {
            let message = format!("dimensions is {dimensions}, and must be from 1 to {width}");
            return Err(Fault::invalid(message));
        }
        let texts: Vec<TextIds> = texts.into_iter().map(TextIds::alone).collect();
        let tokens = texts.iter().map(|text| text.ids.len() as u64).sum();
        let (tenant, adapter) = (chosen.tenant.clone(), chosen.adapter.clone());
        let answer = self.engine.embed(Ask { tenant, adapter, texts, deadline })?;
        let embedded = answer.await.map_err(|_| Fault::ending())??;
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

    /// Tokenises a few texts at a time, so that a request of many keeps none of few waiting.
    async fn tokenize(
        &self,
        chosen: &Chosen,
        texts: Vec<String>,
        reading: Reading<'_>,
    ) -> Result<Vec<Vec<u32>>, Fault> {
        let prefix: Arc<str> = self.prefix(chosen, reading.prompt)?.into();
        let (tokens_max, too_long) = (self.tokens_max(chosen), reading.too_long);
        let mut ids = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter();
        loop {
            let some: Vec<String> = texts.by_ref().take(TEXTS_AT_A_TIME).collect();
            if some.is_empty() {
                return Ok(ids);
            }
            let _turn = self.tokenizing.acquire().await.map_err(|_| Fault::ending())?;
            let (model, prefix) = (self.model.clone(), prefix.clone());
            let work = move || {
                let one = |text: &String| {
                    encode(&model, (&*prefix, text.as_str()), (tokens_max, too_long))
                };
                some.iter().map(one).collect::<Result<Vec<_>, Fault>>()
            };
            let done = tokio::task::spawn_blocking(work).await;
            ids.extend(done.map_err(|_| Fault::ending())??);
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
    (prefix, text): (&str, &str),
    (tokens_max, too_long): (usize, TooLong),
) -> Result<Vec<u32>, Fault> {
    let whole;
    let text = if prefix.is_empty() {
        text
    } else {
        whole = format!("{prefix}{text}");
        &whole
    };
    let most = match too_long {
        TooLong::Cut => tokens_max,
        TooLong::Refused => tokens_max + 1,
    };
    let ids = model.tokenizer.encode(text, most).map_err(Fault::invalid)?;
    check_length(ids.len(), (tokens_max, too_long))?;
    Ok(ids)
}

fn check_length(tokens: usize, (tokens_max, too_long): (usize, TooLong)) -> Result<(), Fault> {
    match tokens > tokens_max && too_long == TooLong::Refused {
        true => Err(Fault::invalid(format!(
            "a text has more than {tokens_max} tokens; send it in parts, or set truncate to true"
        ))),
        false => Ok(()),
    }
}
