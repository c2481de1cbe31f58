//! Orders of texts, as text-embeddings-inference has them: by a cross-encoder, or by cosines.

use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use cotenant_transformer::{Adapter, Head, HeadTape, TextIds};

use super::body::Body;
use super::fault::{Fault, Kind};
use super::shared::{Chosen, Shared, deadline};
use super::tei::{UNIT, answer, check_count};
use super::texts::{Prompt, Reading, TooLong, Vectors};
use super::wire::{Input, RankView, RerankRequest};
use crate::retrieval::{dot, sigmoid};
use crate::serve::access::Caller;
use crate::serve::engine::Ask;

/// Scores of texts, and what they took.
struct Scored {
    /// One a text, as the model gives it.
    scores: Vec<f32>,
    /// Without rows.
    cost: Vectors,
}

/// Orders texts by an adapter's scores where it is a reranker, and by their cosines with the query
/// where it is none.
pub(super) async fn rerank(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<RerankRequest>,
) -> Result<Response, Fault> {
    let begun = Instant::now();
    let deadline = deadline(&headers)?;
    let chosen = shared.choose(&caller, request.parameters.adapter_id.as_deref()).await?;
    check_count(request.texts.len(), "text")?;
    let too_long = TooLong::of(request.truncate);
    let kept = request.return_text.then(|| request.texts.clone());
    let query = Reading { prompt: Prompt::Query, too_long };
    let mut texts = shared.read(&chosen, Input::Text(request.query), query).await?;
    let documents = Reading { prompt: Prompt::Document, too_long };
    texts.extend(shared.read(&chosen, Input::Texts(request.texts), documents).await?);
    let (Scored { scores, cost }, in_parts): (_, fn(f32) -> f32) = match chosen.reranker() {
        Some(reranker) => {
            let limits = (too_long, deadline);
            (shared.score(&chosen, reranker, texts, limits).await?, sigmoid)
        }
        None => (shared.compare(&chosen, texts, deadline).await?, |cosine| (1.0 + cosine) / 2.0),
    };
    let score = |raw: f32| if request.raw_scores { raw } else { in_parts(raw) };
    let rank = |(index, &raw)| RankView {
        index,
        score: score(raw),
        text: kept.as_ref().map(|texts| texts[index].clone()),
    };
    let mut ranks: Vec<RankView> = scores.iter().enumerate().map(rank).collect();
    ranks.sort_by(|one, other| other.score.total_cmp(&one.score));
    Ok(answer(&ranks, &cost, (chosen, begun)))
}

impl Shared {
    /// What a reranker says of texts, each with the query; what is too long is cut.
    pub(super) async fn reread(
        &self,
        chosen: &Chosen,
        (query, texts): (String, Vec<String>),
        deadline: Instant,
    ) -> Result<Vec<f32>, Fault> {
        let reranker = chosen.check_scores()?;
        let reading = |prompt| Reading { prompt, too_long: TooLong::Cut };
        let mut read = self.read(chosen, Input::Text(query), reading(Prompt::Query)).await?;
        read.extend(self.read(chosen, Input::Texts(texts), reading(Prompt::Document)).await?);
        Ok(self.score(chosen, reranker, read, (TooLong::Cut, deadline)).await?.scores)
    }

    /// Cosines of the first text with each of the others.
    async fn compare(
        &self,
        chosen: &Chosen,
        texts: Vec<Vec<u32>>,
        deadline: Instant,
    ) -> Result<Scored, Fault> {
        let mut cost = self.embed(chosen, texts, (UNIT, deadline)).await?;
        let rows = std::mem::take(&mut cost.rows);
        let (query, others) = rows.split_first().expect("the query is the first");
        Ok(Scored { scores: others.iter().map(|row| dot(query, row)).collect(), cost })
    }

    /// What a reranker says of the first text with each of the others. Pairs wait in the tenant's
    /// lane, as texts do; the head's part, a thousandth of the encoder's, is done here.
    async fn score(
        &self,
        chosen: &Chosen,
        (reranker, head): (&Adapter, &Head),
        texts: Vec<Vec<u32>>,
        (too_long, deadline): (TooLong, Instant),
    ) -> Result<Scored, Fault> {
        let (query, others) = texts.split_first().expect("the query is the first");
        let tokens_max = self.tokens_max(chosen);
        let tokenizer = &self.model.tokenizer;
        // Two texts together have other special tokens than two apart.
        let more = tokenizer.special_tokens_of_pair();
        let most = tokens_max + 2 * tokenizer.special_tokens();
        let join = |text: &Vec<u32>| {
            if too_long == TooLong::Refused && query.len() + text.len() + more > most {
                return Err(Fault::invalid(format!(
                    "query and text have more than {tokens_max} tokens together; send the text in \
                     parts, or set truncate to true"
                )));
            }
            tokenizer.join(query, text, tokens_max).map_err(Fault::invalid)
        };
        let pairs: Vec<TextIds> = others.iter().map(join).collect::<Result<_, _>>()?;
        let tokens = pairs.iter().map(|pair| pair.ids.len() as u64).sum();
        let (tenant, adapter) = (chosen.tenant.clone(), chosen.adapter.clone());
        let embedded = self.answer(Ask { tenant, adapter, texts: pairs, deadline }).await?;
        let mut scores = vec![0.0; others.len()];
        let values = &reranker.values;
        head.scores(values, &embedded.values, &mut HeadTape::default(), &mut scores);
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            let message = format!("text {at} has no finite score under {:?}", chosen.name);
            return Err(Fault::new(Kind::Backend, message));
        }
        let cost = Vectors { rows: Vec::new(), tokens, waited: embedded.waited };
        Ok(Scored { scores, cost })
    }
}
