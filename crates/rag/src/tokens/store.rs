//! The store and its threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use cotenant_train::{TextError, Texts};
use cotenant_transformer::Tokenizer;
use sha2::{Digest, Sha256};

use super::cache::CacheFile;

/// What turns a text into token ids.
pub trait Encode: Send + Sync {
    /// The ids with the special ones, at most `tokens_max`; the reason if there are none.
    fn encode(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, String>;
}

impl Encode for Tokenizer {
    fn encode(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, String> {
        self.encode(text, tokens_max).map_err(|error| error.to_string())
    }
}

/// How texts are tokenised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// Most tokens of a text, with the special ones.
    pub tokens_max: usize,
    /// Threads that work ahead; at least one.
    pub threads: usize,
    /// Where ids are kept between runs; `None` keeps none.
    pub cache: Option<PathBuf>,
    /// A hash of the tokenizer: ids of another one are not used.
    pub fingerprint: u64,
}

/// What became of the cache file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// None was asked for.
    Off,
    /// All ids came from it.
    Loaded,
    /// The texts are being tokenised, or one of them failed.
    Pending,
    /// It was written.
    Written,
    /// It could not be written, for this reason; the next run will tokenise again.
    Failed(String),
}

/// A table of texts that become token ids in the background.
pub struct TokenStore {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Each text until its ids are there.
    texts: Vec<Mutex<String>>,
    keys: Vec<u64>,
    slots: Vec<OnceLock<Result<Arc<[u32]>, String>>>,
    encode: Arc<dyn Encode>,
    tokens_max: usize,
    cache: Option<CacheFile>,
    /// Texts whose slot is filled.
    done: AtomicUsize,
    stopping: AtomicBool,
    work: Mutex<Work>,
    changed: Condvar,
}

/// What the threads take next.
struct Work {
    /// Texts that were announced, in the order of their use.
    announced: Vec<u32>,
    /// The next of them.
    at: usize,
    /// The next of all texts, once nothing is announced.
    rest: u32,
    status: CacheStatus,
}

impl TokenStore {
    /// A table of texts, at most `u32::MAX`, with any prefix already in front of them. Returns at
    /// once; the texts are tokenised in their order until another one is announced.
    pub fn new(texts: Vec<String>, encode: Arc<dyn Encode>, options: TokenOptions) -> Self {
        let keys: Vec<u64> = texts.iter().map(|text| key(text, options.tokens_max)).collect();
        let cache = options
            .cache
            .map(|folder| CacheFile::new(folder, options.fingerprint, options.tokens_max));
        let loaded = cache.as_ref().and_then(|cache| cache.load(&keys));
        let status = match (&cache, &loaded) {
            (None, _) => CacheStatus::Off,
            (Some(_), Some(_)) => CacheStatus::Loaded,
            (Some(_), None) => CacheStatus::Pending,
        };
        let threads = if loaded.is_some() || texts.is_empty() { 0 } else { options.threads.max(1) };
        let (texts, slots, done): (Vec<_>, Vec<_>, usize) = match loaded {
            Some(ids) => {
                let done = ids.len();
                (Vec::new(), ids.into_iter().map(|ids| OnceLock::from(Ok(ids))).collect(), done)
            }
            None => {
                let slots = texts.iter().map(|_| OnceLock::new()).collect();
                (texts.into_iter().map(Mutex::new).collect(), slots, 0)
            }
        };
        let shared = Arc::new(Shared {
            texts,
            keys,
            slots,
            encode,
            tokens_max: options.tokens_max,
            cache,
            done: AtomicUsize::new(done),
            stopping: AtomicBool::new(false),
            work: Mutex::new(Work { announced: Vec::new(), at: 0, rest: 0, status }),
            changed: Condvar::new(),
        });
        let start = |number| {
            let shared = Arc::clone(&shared);
            let name = format!("tokens-{number}");
            // Without threads the texts are tokenised by whoever asks for them.
            thread::Builder::new().name(name).spawn(move || shared.run(number == 0)).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Self { shared, threads }
    }

    /// The ids of a text, by its position; waits, or tokenises it, if they are not there yet.
    pub fn get(&self, text: u32) -> Result<Arc<[u32]>, String> {
        self.shared.fill(text).clone()
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.shared.slots.is_empty()
    }

    /// Texts whose ids are there.
    pub fn ready(&self) -> usize {
        self.shared.done.load(Ordering::Acquire)
    }

    /// What became of the cache file so far.
    pub fn cache_status(&self) -> CacheStatus {
        self.shared.work().status.clone()
    }

    /// Waits until every text is tokenised and the cache file is written, if there is one.
    pub fn finish(&mut self) -> CacheStatus {
        for thread in self.threads.drain(..) {
            // A thread that panicked has left its text to whoever asks for it.
            let _ = thread.join();
        }
        self.cache_status()
    }
}

impl Texts for TokenStore {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        self.get(text).map_err(|reason| TextError { reason })
    }

    fn key(&self, text: u32) -> u64 {
        self.shared.keys[text as usize]
    }

    fn announce(&self, upcoming: &[u32]) {
        if self.ready() < self.len() {
            let mut work = self.shared.work();
            work.announced = upcoming.to_vec();
            work.at = 0;
        }
    }
}

impl Drop for TokenStore {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake();
        self.finish();
    }
}

impl Shared {
    /// The body of a thread: takes texts until all are done; the first one writes the cache.
    fn run(&self, writes: bool) {
        while let Some(text) = self.take() {
            self.fill(text);
        }
        let mut work = self.work();
        while self.done.load(Ordering::Acquire) < self.slots.len() && !self.is_stopping() {
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        drop(work);
        if writes && !self.is_stopping() {
            self.save();
        }
    }

    /// The next text to tokenise; `None` once all are taken.
    fn take(&self) -> Option<u32> {
        let mut work = self.work();
        while !self.is_stopping() {
            let next = match work.announced.get(work.at) {
                Some(&text) => {
                    work.at += 1;
                    text
                }
                None if (work.rest as usize) < self.slots.len() => {
                    work.rest += 1;
                    work.rest - 1
                }
                None => return None,
            };
            if self.slots[next as usize].get().is_none() {
                return Some(next);
            }
        }
        None
    }

    fn fill(&self, text: u32) -> &Result<Arc<[u32]>, String> {
        let at = text as usize;
        self.slots[at].get_or_init(|| {
            let mut text = self.texts[at].lock().unwrap_or_else(PoisonError::into_inner);
            let ids = self.encode.encode(&text, self.tokens_max).map(Arc::from);
            *text = String::new();
            drop(text);
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.slots.len() {
                self.wake();
            }
            ids
        })
    }

    /// Writes the cache file if every text has ids.
    fn save(&self) {
        let Some(cache) = &self.cache else { return };
        // The last slot is counted just before it is filled; asking for it waits that moment.
        let ids: Option<Vec<&[u32]>> =
            (0..self.slots.len() as u32).map(|text| self.fill(text).as_deref().ok()).collect();
        let Some(ids) = ids else { return };
        self.work().status = match cache.save(&self.keys, &ids) {
            Ok(()) => CacheStatus::Written,
            Err(error) => CacheStatus::Failed(error.to_string()),
        };
    }

    fn wake(&self) {
        // Under the lock, so that no thread checks and sleeps in between.
        let work = self.work();
        self.changed.notify_all();
        drop(work);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash of what a text's ids depend on, but for the tokenizer.
fn key(text: &str, tokens_max: usize) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update((tokens_max as u64).to_le_bytes());
    hasher.update(text.as_bytes());
    let digest = hasher.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// One id a byte, and a count of calls; refuses texts with a `!`.
    #[derive(Default)]
    struct Bytewise {
        calls: AtomicUsize,
    }

    impl Encode for Bytewise {
        fn encode(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, String> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            match text.contains('!') {
                true => Err(format!("{text:?} is loud")),
                false => Ok(text.bytes().take(tokens_max).map(u32::from).collect()),
            }
        }
    }

    fn options(cache: Option<&Path>) -> TokenOptions {
        let cache = cache.map(Path::to_owned);
        TokenOptions { tokens_max: 8, threads: 3, cache, fingerprint: 5 }
    }

    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("text number {at}")).collect()
    }

    fn expected(text: &str) -> Vec<u32> {
        text.bytes().take(8).map(u32::from).collect()
    }

    #[test]
    fn every_text_is_tokenised_once_in_any_order() {
        let encode = Arc::new(Bytewise::default());
        let mut store = TokenStore::new(texts(500), Arc::clone(&encode) as _, options(None));
        store.announce(&[499, 3, 499, 7]);
        for at in (0..500).rev() {
            assert_eq!(*store.get(at).unwrap(), *expected(&format!("text number {at}")));
        }
        assert_eq!(store.finish(), CacheStatus::Off);
        assert_eq!((store.ready(), encode.calls.load(Ordering::Relaxed)), (500, 500));
    }

    #[test]
    fn a_bad_text_fails_alone_and_keeps_the_cache_unwritten() {
        let folder = tempfile::tempdir().unwrap();
        let list = vec!["calm".to_owned(), "loud!".to_owned()];
        let encode: Arc<dyn Encode> = Arc::new(Bytewise::default());
        let mut store = TokenStore::new(list, encode, options(Some(folder.path())));
        assert_eq!(store.get(1).unwrap_err(), "\"loud!\" is loud");
        assert!(store.get(0).is_ok());
        assert_eq!(store.finish(), CacheStatus::Pending);
    }

    #[test]
    fn the_cache_is_used_and_a_damaged_one_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = |count, change: fn(&mut TokenOptions)| {
            let encode = Arc::new(Bytewise::default());
            let mut options = options(Some(folder.path()));
            change(&mut options);
            let mut store = TokenStore::new(texts(count), Arc::clone(&encode) as _, options);
            let status = store.finish();
            assert_eq!(*store.get(9).unwrap(), *expected("text number 9"));
            (status, encode.calls.load(Ordering::Relaxed))
        };
        assert_eq!(open(50, |_| {}), (CacheStatus::Written, 50));
        assert_eq!(open(50, |_| {}), (CacheStatus::Loaded, 0));
        assert_eq!(open(50, |options| options.fingerprint = 6), (CacheStatus::Written, 50));
        assert_eq!(open(40, |_| {}), (CacheStatus::Written, 40));

        let entries = std::fs::read_dir(folder.path()).unwrap();
        let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "one file for each table and tokenizer: {files:?}");
        for damage in
            [truncate as fn(&mut Vec<u8>), |bytes| flip(bytes), Vec::clear, |bytes| bytes.push(0)]
        {
            for file in &files {
                let mut bytes = std::fs::read(file).unwrap();
                damage(&mut bytes);
                std::fs::write(file, bytes).unwrap();
            }
            assert_eq!(open(50, |_| {}), (CacheStatus::Written, 50));
            assert_eq!(open(50, |_| {}), (CacheStatus::Loaded, 0));
        }
    }

    fn truncate(bytes: &mut Vec<u8>) {
        bytes.truncate(bytes.len() / 2);
    }

    fn flip(bytes: &mut [u8]) {
        if let Some(byte) = bytes.get_mut(60) {
            *byte ^= 1;
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_and_harmless() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let encode: Arc<dyn Encode> = Arc::new(Bytewise::default());
        let mut store = TokenStore::new(texts(3), encode, options(Some(&file.path().join("x"))));
        assert!(matches!(store.finish(), CacheStatus::Failed(_)));
        assert!(store.get(2).is_ok());
    }

    #[test]
    fn dropping_a_store_stops_its_threads() {
        let encode: Arc<dyn Encode> = Arc::new(Bytewise::default());
        drop(TokenStore::new(texts(100_000), encode, options(None)));
    }
}
