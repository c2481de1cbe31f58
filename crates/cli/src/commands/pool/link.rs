//! Asking the pool: once, once more with the same key, or until it answers again.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use cotenant_api::{CardPage, Client, ClientError, JobRequest, JobView};

use super::address;
use super::failure::Failure;
use crate::args::pool::PoolArgs;
use crate::console::Console;
use crate::words;

/// How long whoever follows a job waits for a pool that was there and is silent now, as it is while
/// its daemon starts anew.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Pause between two questions to a pool that is silent.
const SILENCE_PAUSE: Duration = Duration::from_millis(500);

/// Cards on a page; the most that the contract allows.
const CARDS_PAGE: u32 = 1000;

/// A pool to ask.
pub(super) struct Pool {
    client: Client,
}

impl Pool {
    /// The pool that the arguments or the environment name.
    pub(super) fn open(arguments: &PoolArgs) -> Result<Self, String> {
        let address = address::address(arguments.pool.as_deref())?;
        Ok(Self { client: Client::new(&address, address::token()?) })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    /// Asks; `what` completes "failed to".
    pub(super) fn ask<T>(
        &self,
        what: &str,
        question: impl FnOnce(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        question(&self.client).map_err(|error| Failure::of(what, error))
    }

    /// Asks for as long as a pool may need to come back.
    pub(super) fn ask_patiently<T>(
        &self,
        what: &str,
        console: &Console,
        question: impl Fn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let mut silent_since = None;
        loop {
            let error = match question(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let since = *silent_since.get_or_insert_with(|| {
                if is_silence(&error) {
                    console.say("the pool does not answer; asking it again for a minute");
                }
                Instant::now()
            });
            if !is_silence(&error) || since.elapsed() > SILENCE_MAX {
                return Err(Failure::of(what, error));
            }
            thread::sleep(SILENCE_PAUSE);
        }
    }

    /// Submits a job. Where the answer is lost, it asks once more with the same key, so that there
    /// is one job in the end.
    pub(super) fn submit(
        &self,
        job: &JobRequest,
        key: Option<&str>,
        console: &Console,
    ) -> Result<JobView, Failure> {
        let key = key.map_or_else(new_key, str::to_owned);
        let submit = || self.client.submit(job, Some(&key));
        let answer = submit().or_else(|error| match error {
            ClientError::Reach { .. } | ClientError::Strange { .. } => {
                console.say("no answer that helps; asking once more with the same key");
                submit()
            }
            ClientError::Refused { .. } => Err(error),
        });
        answer.map_err(|error| Failure::of("submit the job", error))
    }

    /// Every card, on one page.
    pub(super) fn cards(&self) -> Result<CardPage, Failure> {
        let what = "list the pool's cards";
        let mut all = self.ask(what, |client| client.cards(None, CARDS_PAGE))?;
        while let Some(after) = all.next_after.take() {
            let page = self.ask(what, |client| client.cards(Some(&after), CARDS_PAGE))?;
            if page.cards.is_empty() || page.next_after.as_ref() == Some(&after) {
                break;
            }
            all.cards.extend(page.cards);
            all.total = page.total;
            all.next_after = page.next_after;
        }
        Ok(all)
    }
}

fn is_silence(error: &ClientError) -> bool {
    match error {
        ClientError::Reach { .. } => true,
        ClientError::Refused { .. } | ClientError::Strange { .. } => false,
    }
}

/// A key that nobody else has: 128 bits of a hash whose own key the system chose at random.
fn new_key() -> String {
    let seed = (words::now_ms(), std::process::id());
    let [high, low] = [0_u8, 1].map(|half| RandomState::new().hash_one((seed, half)));
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_keys_are_alike() {
        let keys: BTreeSet<String> = (0..1000).map(|_| new_key()).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.len() == 32));
    }
}
