//! What clients send to `cotenant serve`, and the files of its online experiments.

use std::path::Path;

use cotenant_rag::serve;

use crate::Verdict;
use crate::memory;
use crate::message;

/// Longest message that a client gets, in bytes: a thousand characters of at most four.
const MESSAGE_BYTES_MAX: usize = 4004;

/// A letter for the route, and the body of a request: what is asked is decided, or refused in few
/// words.
pub fn http_body(bytes: &[u8]) -> Verdict {
    match memory::bounded(bytes.len(), || serve::read_request(bytes)) {
        Ok(()) => Verdict::Accepted,
        Err(message) => {
            assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{message}");
            Verdict::Refused
        }
    }
}

/// The file of an experiment, or its lines without their hashes.
pub fn experiment(bytes: &[u8]) -> Verdict {
    let path = Path::new("/experiments/file.experiment");
    match memory::bounded(bytes.len(), || serve::read_experiment(path, bytes)) {
        Ok(()) => Verdict::Accepted,
        Err(error) => {
            message::check(&error, path);
            Verdict::Refused
        }
    }
}
