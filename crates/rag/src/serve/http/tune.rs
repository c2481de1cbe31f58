//! Learning from a tenant's judged queries how to search its documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use cotenant_index::IndexError;

use super::adaptive::{FLOOR, of_retrieval};
use super::body::Body;
use super::documents::{InQuery, blocking, of_index, tenant};
use super::fault::{Fault, Kind};
use super::rereader::Rereader;
use super::shared::{Shared, deadline};
use super::texts::Prompt;
use super::wire::TenantQuery;
use super::wire_tune::{AsNeededView, JudgedView, MixView, StageView, TuneRequest, TunedView};
use crate::retrieval::pipeline::{
    Blend, Calibration, DEV_QUERIES_MAX, DevQuery, Effort, Learnt, Live, Mix, Prices, Reranker,
    RetrievalError, StageBuys, Tuned, Way,
};
use crate::serve::access::Caller;
use crate::serve::documents::Space;
use crate::serve::tuning::{Kept, Known};

/// Fewest judged queries that anything is learnt from.
const QUERIES_MIN: usize = 20;
/// Longest query, in bytes.
const QUERY_BYTES_MAX: usize = 16 << 10;
/// Most judged documents of a query.
const JUDGED_MAX: usize = 1000;
/// Highest grade of a document.
const GRADE_MAX: i64 = 1000;
/// Queries that are embedded at a time.
const EMBED_AT_A_TIME: usize = 64;

/// A query whose answers are known, and where they are.
struct Resolved {
    text: String,
    gains: Vec<(u32, i64)>,
}

/// Judged queries with their answers' slots.
#[derive(Default)]
struct Judgements {
    queries: Vec<Resolved>,
    queries_left_out: u64,
    documents_unknown: u64,
    documents: u64,
}

/// Tells whoever works for a request that its client has gone.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Learns how to search a tenant's documents, and keeps it.
pub(super) async fn learn(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<TuneRequest>,
) -> Result<Json<TunedView>, Fault> {
    let deadline = deadline(&headers)?;
    let tenant = tenant(&caller, request.tenant)?;
    check(&request.queries)?;
    let space = shared.space(&caller, &tenant).await?;
    let Some((chosen, maker)) = shared.maker(&space, &caller).await? else {
        let message = "the documents have no vectors: there is nothing to learn";
        return Err(Fault::invalid(message));
    };
    let reranker = match &request.reranker {
        Some(name) => Some(Rereader::new(&shared, &caller, (name, deadline)).await?),
        None => None,
    };
    let documents = shared.documents()?;
    let turn = tokio::time::timeout_at(deadline.into(), documents.learning.acquire()).await;
    let _turn = turn.map_err(|_| of_retrieval(RetrievalError::Stopped, &caller))?;
    let looked = space.clone();
    let judgements = blocking(move || resolve(&looked, request.queries)).await?;
    let judgements = judgements.map_err(|error| of_index(&error, &caller))?;
    if judgements.queries.len() < QUERIES_MIN {
        return Err(Fault::invalid(format!(
            "of the judged queries {} have an answer among the documents, and it takes \
             {QUERIES_MIN}\nhint: relevant names documents by their ids, with grades above 0",
            judgements.queries.len()
        )));
    }
    let mut vectors = Vec::with_capacity(judgements.queries.len());
    for some in judgements.queries.chunks(EMBED_AT_A_TIME) {
        let texts = some.iter().map(|one| one.text.clone()).collect();
        vectors.extend(shared.embed_for_search(&chosen, (Prompt::Query, texts), deadline).await?);
    }
    let stop = StopOnDrop(Arc::default());
    let lesson = Lesson {
        space,
        judgements,
        vectors,
        embedding: maker.embedding().to_owned(),
        reranker,
        stop: stop.0.clone(),
        deadline,
    };
    let kept = blocking(move || lesson.learn()).await?;
    let kept = kept.map_err(|why| match why {
        NotLearnt::Retrieval(error) => of_retrieval(error, &caller),
        NotLearnt::Reranker(fault) => fault,
    })?;
    Ok(Json(view(tenant, &kept, true)))
}

/// What was learnt.
pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<Json<TunedView>, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let space = shared.space(&caller, &tenant).await?;
    let looked = move || -> Result<Known, IndexError> {
        let view = space.namespace.view(None)?;
        Ok(space.known(&view))
    };
    let known = blocking(looked).await?;
    match known.map_err(|error| of_index(&error, &caller))? {
        Known::Learnt(kept) => Ok(Json(view(tenant, &kept, true))),
        Known::Stale(kept) => Ok(Json(view(tenant, &kept, false))),
        Known::Nothing => Err(Fault::new(Kind::NotFound, "nothing was learnt for the tenant")),
        Known::Unreadable { why } => Err(Fault::new(
            Kind::Conflict,
            format!("what was learnt cannot be used: {why}\nhint: learn it anew"),
        )),
    }
}

/// Forgets what was learnt.
pub(super) async fn forget(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<StatusCode, Fault> {
    let space = shared.space(&caller, &tenant(&caller, query.tenant)?).await?;
    let forgotten = blocking(move || space.forget()).await?;
    forgotten.map_err(|error| of_index(&error, &caller))?;
    Ok(StatusCode::OK)
}

fn check(queries: &[JudgedView]) -> Result<(), Fault> {
    if queries.len() > DEV_QUERIES_MAX {
        let message =
            format!("a request may have {DEV_QUERIES_MAX} judged queries; draw from them");
        return Err(Fault::new(Kind::TooLarge, message));
    }
    if queries.len() < QUERIES_MIN {
        let count = queries.len();
        let message = format!(
            "there are {count} judged queries, and it takes {QUERIES_MIN}\n\
             hint: send more queries with relevant documents of the tenant"
        );
        return Err(Fault::invalid(message));
    }
    for (at, judged) in queries.iter().enumerate() {
        if judged.query.len() > QUERY_BYTES_MAX {
            let message = format!("query {at} has more than {QUERY_BYTES_MAX} bytes");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        if judged.query.trim().is_empty() {
            return Err(Fault::invalid(format!("query {at} is empty")));
        }
        if judged.relevant.len() > JUDGED_MAX {
            let message = format!("query {at} has more than {JUDGED_MAX} judged documents");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        let is_grade = |grade: &&i64| !(0..=GRADE_MAX).contains(*grade);
        if let Some(grade) = judged.relevant.values().find(is_grade) {
            let message = format!("query {at} has grade {grade}; grades are from 0 to {GRADE_MAX}");
            return Err(Fault::invalid(message));
        }
    }
    Ok(())
}

/// Finds the slots of answers. Each query has a view of its own, so that writes wait for no more.
fn resolve(space: &Space, queries: Vec<JudgedView>) -> Result<Judgements, IndexError> {
    let mut found = Judgements::default();
    for JudgedView { query, relevant } in queries {
        let view = space.namespace.view(None)?;
        found.documents = view.documents();
        let mut gains = BTreeMap::new();
        for (id, grade) in relevant.into_iter().filter(|(_, grade)| *grade > 0) {
            match view.slot(&id)? {
                Some(slot) => {
                    gains.insert(slot.0, grade);
                }
                None => found.documents_unknown += 1,
            }
        }
        match gains.is_empty() {
            true => found.queries_left_out += 1,
            false => {
                let gains = gains.into_iter().collect();
                found.queries.push(Resolved { text: query, gains });
            }
        }
    }
    Ok(found)
}

/// Why nothing was learnt.
enum NotLearnt {
    Retrieval(RetrievalError),
    /// The reranker did not read.
    Reranker(Fault),
}

impl<E: Into<RetrievalError>> From<E> for NotLearnt {
    fn from(error: E) -> Self {
        Self::Retrieval(error.into())
    }
}

/// All that learning needs.
struct Lesson {
    space: Arc<Space>,
    judgements: Judgements,
    vectors: Vec<Vec<f32>>,
    embedding: String,
    reranker: Option<Rereader>,
    stop: Arc<AtomicBool>,
    deadline: Instant,
}

impl Lesson {
    /// Learns, and keeps what was learnt.
    fn learn(self) -> Result<Kept, NotLearnt> {
        let Judgements { queries, queries_left_out, documents_unknown, documents } =
            self.judgements;
        let live = Live {
            namespace: &self.space.namespace,
            embedding: &self.embedding,
            stop: &self.stop,
            deadline: self.deadline,
        };
        let dev: Vec<DevQuery<'_>> = queries
            .iter()
            .zip(&self.vectors)
            .map(|(one, vector)| DevQuery {
                text: Cow::Borrowed(&one.text),
                vector,
                gains: one.gains.clone(),
                without: None,
            })
            .collect();
        let prices = Prices::for_dimensions(self.vectors.first().map_or(0, Vec::len));
        let rereader = self.reranker.as_ref();
        let reranker = rereader.map(|rereader| rereader as &dyn Reranker);
        let calibration = Calibration { retrievers: &live, dev: &dev, prices, reranker };
        let learnt = calibration.run();
        if let Some(fault) = rereader.and_then(Rereader::fault) {
            return Err(NotLearnt::Reranker(fault));
        }
        let Learnt { tuned, stages } = learnt?;
        // Whoever has gone meanwhile is told of nothing, and so nothing is kept.
        live.check()?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = Kept {
            embedding: self.embedding,
            reranker: rereader.map(|rereader| rereader.maker().to_owned()),
            learnt_s: since.as_secs(),
            documents,
            queries_left_out,
            documents_unknown,
            stages,
            tuned,
        };
        self.space.keep(&kept)?;
        Ok(kept)
    }
}

fn view(tenant: String, kept: &Kept, in_use: bool) -> TunedView {
    let Kept { tuned, stages, .. } = kept;
    let full = tuned.full_quality;
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
    let stage = |one: &StageBuys| StageView {
        stage: one.stage.name(),
        ndcg10: one.ndcg10,
        kept: share(one.ndcg10, full),
        search_us: one.search_us,
        total_us: one.total_us,
    };
    let stages: Vec<StageView> = stages.iter().map(stage).collect();
    let as_needed: Vec<AsNeededView> =
        [0.0, 0.5, 1.0].into_iter().map(|load| as_needed(tuned, load)).collect();
    TunedView {
        tenant,
        in_use,
        in_words: in_words(kept, (&stages, &as_needed), in_use),
        embedding: kept.embedding.clone(),
        reranker: kept.reranker.clone(),
        reranker_weight: tuned.blend.map(Blend::weight),
        learnt_s: kept.learnt_s,
        documents: kept.documents,
        queries: tuned.queries,
        queries_left_out: kept.queries_left_out,
        documents_unknown: kept.documents_unknown,
        mix: mix_view(&tuned.mix),
        stages,
        as_needed,
    }
}

fn mix_view(mix: &Mix) -> MixView {
    let (way, rrf_k) = match mix.way {
        Way::ReciprocalRank { k } => ("reciprocal_rank", Some(k)),
        Way::MinMax => ("min_max", None),
        Way::ZScore => ("z_score", None),
    };
    MixView { way, rrf_k, words: mix.words, vectors: mix.vectors, codes: mix.holding }
}

fn as_needed(tuned: &Tuned, load: f64) -> AsNeededView {
    let (kept, cost_share, is_full_depth) = match tuned.effort(load, FLOOR) {
        Effort::Needed(rule) => (rule.quality, rule.cost_us / tuned.full_cost_us, false),
        Effort::To(_) => (1.0, 1.0, true),
    };
    AsNeededView { load, quality_floor: FLOOR, kept, cost_share, is_full_depth }
}

/// A person's account of it, a sentence each.
fn in_words(
    kept: &Kept,
    (stages, as_needed): (&[StageView], &[AsNeededView]),
    in_use: bool,
) -> Vec<String> {
    let mut said = vec![format!(
        "Learnt from {} judged queries on {} documents, with vectors of {}.",
        kept.tuned.queries, kept.documents, kept.embedding
    )];
    if !in_use {
        said.push(
            "It is not used: the documents have other vectors by now, so learn it anew.".to_owned(),
        );
    }
    if kept.queries_left_out + kept.documents_unknown > 0 {
        said.push(format!(
            "{} judged documents are not there, and {} queries had no other answer and were left \
             out.",
            kept.documents_unknown, kept.queries_left_out
        ));
    }
    if let (Some(reranker), Some(blend)) = (&kept.reranker, kept.tuned.blend) {
        said.push(match blend.counts() {
            true => format!(
                "The reranker {reranker} reads what was found again; its score times {:.4} is added \
                 to that of finding, which is 1 for the best and 0 for the last.",
                blend.weight()
            ),
            false => format!(
                "The reranker {reranker} does not help on these queries, and so nothing is read \
                 again."
            ),
        });
    }
    for one in stages {
        said.push(format!(
            "{} finds {:.4} nDCG@10, {:.1} % of full depth, for {:.0} microseconds of the index, \
             {:.0} with the models'.",
            one.stage,
            one.ndcg10,
            100.0 * one.kept,
            one.search_us,
            one.total_us
        ));
    }
    for one in as_needed {
        said.push(match one.is_full_depth {
            true => format!(
                "At load {} with a floor of {} every query goes to full depth: no rule surely \
                 keeps enough.",
                one.load, one.quality_floor
            ),
            false => format!(
                "At load {} with a floor of {} a query costs {:.1} % of full depth, and at least \
                 {:.1} % of its quality is kept.",
                one.load,
                one.quality_floor,
                100.0 * one.cost_share,
                100.0 * one.kept
            ),
        });
    }
    said.push(
        "Stages were measured on the queries that the mix was learnt from; what a rule keeps was \
         foretold for each query from the others, and lowered by three standard errors."
            .to_owned(),
    );
    said
}
