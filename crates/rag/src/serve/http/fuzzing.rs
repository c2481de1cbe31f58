//! Bodies of requests, as far as they are read without a server.

use serde::de::DeserializeOwned;

use super::body::parse;
use super::experiments::{FeedbackRequest, check_request};
use super::fault::Fault;
use super::search;
use super::wire::{
    AddDocumentsRequest, DeleteDocumentsRequest, EmbedDocumentsRequest, EmbedRequest,
    EmbeddingsRequest, LoadAdapterRequest, RerankRequest, SearchRequest, SimilarityRequest,
    TokenizeRequest, UnloadAdapterRequest,
};
use super::wire_tune::TuneRequest;
use crate::serve::experiments::{ExperimentRequest, Plan};

/// Reads a body and decides what is asked. The first byte says of which route it is; the others are
/// the body. Where it is refused, the message is returned that a client gets.
pub fn read_request(bytes: &[u8]) -> Result<(), String> {
    let Some((route, body)) = bytes.split_first() else { return Err("no route".to_owned()) };
    let decided = match route {
        b's' => parse::<SearchRequest>(body).and_then(|request| search::check(&request)),
        b'x' => parse(body).and_then(experiment),
        b'f' => only::<FeedbackRequest>(body),
        b'e' => only::<EmbeddingsRequest>(body),
        b'm' => only::<EmbedRequest>(body),
        b'i' => only::<SimilarityRequest>(body),
        b'r' => only::<RerankRequest>(body),
        b't' => only::<TokenizeRequest>(body),
        b'l' => only::<LoadAdapterRequest>(body),
        b'u' => only::<UnloadAdapterRequest>(body),
        b'd' => only::<AddDocumentsRequest>(body),
        b'g' => only::<DeleteDocumentsRequest>(body),
        b'n' => only::<TuneRequest>(body),
        _ => only::<EmbedDocumentsRequest>(body),
    };
    decided.map_err(|fault| fault.message().to_owned())
}

fn only<T: DeserializeOwned>(body: &[u8]) -> Result<(), Fault> {
    parse::<T>(body).map(drop)
}

/// An experiment that may begin is the same once it is written and read again: its file says what
/// was asked for.
fn experiment(request: ExperimentRequest) -> Result<(), Fault> {
    check_request(&request)?;
    let plan = Plan::decide(request).map_err(Fault::invalid)?;
    let text = serde_json::to_string(plan.request()).expect("a request is plain JSON");
    let again: ExperimentRequest = parse(text.as_bytes())?;
    let again = Plan::decide(again).map_err(Fault::invalid)?;
    let second = serde_json::to_string(again.request()).expect("a request is plain JSON");
    let third: ExperimentRequest = parse(second.as_bytes())?;
    // Decimals may be off by their last digit the first time, and settle then.
    assert_eq!(again.request(), &third, "{text} became {second}");
    Ok(())
}
