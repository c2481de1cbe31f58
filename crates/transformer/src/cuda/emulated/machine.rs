//! The processor as a machine: its own memory, and kernels that have run by the time they are asked.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::host::Host;
use crate::backend::Fault;
use crate::cuda::launch::Launch;
use crate::cuda::machine::{Layer, Machine, Way};
use crate::cuda::record::Address;

/// Seeds the order of threads and blocks.
const SEED: u64 = 0xC0_7E;

/// A machine in this process.
pub struct HostMachine {
    host: &'static Host,
    /// Buffers that may still be made before memory is used up.
    buffers_left: AtomicUsize,
    /// Launches so far.
    launches: AtomicUsize,
    /// Operations that the plans of those have counted.
    operations: AtomicU64,
    /// Whether what is asked for now is one piece of work.
    is_one: AtomicBool,
}

/// Memory that kernels write behind the compiler's back.
pub struct HostBuffer {
    words: Box<[AtomicU64]>,
    bytes: usize,
}

impl HostMachine {
    pub(in crate::cuda) fn new(host: &'static Host) -> Self {
        let buffers_left = AtomicUsize::new(usize::MAX);
        Self {
            host,
            buffers_left,
            launches: AtomicUsize::new(0),
            operations: AtomicU64::new(0),
            is_one: AtomicBool::new(false),
        }
    }

    /// From now on so many buffers can be made.
    #[cfg(test)]
    pub(in crate::cuda) fn leave(&self, buffers: usize) {
        self.buffers_left.store(buffers, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(in crate::cuda) fn launches(&self) -> usize {
        self.launches.load(Ordering::Relaxed)
    }

    /// That a copy from or to the host is not asked for within one piece of work.
    #[track_caller]
    fn assert_apart(&self) {
        assert!(!self.is_one.load(Ordering::Relaxed), "a copy within one piece of work");
    }

    /// Operations since they were last asked for.
    #[cfg(test)]
    pub(in crate::cuda) fn take_operations(&self) -> u64 {
        self.operations.swap(0, Ordering::Relaxed)
    }
}

impl HostBuffer {
    fn words(&self) -> impl Iterator<Item = [u8; 8]> {
        self.words.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
    }

    fn fill(&self, from: &[u8]) {
        for (word, bytes) in self.words.iter().zip(from.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
    }
}

impl Machine for HostMachine {
    type Buffer = HostBuffer;
    type Page = Vec<u8>;
    type Arriving = HostBuffer;

    fn buffer(&self, bytes: usize) -> Result<HostBuffer, Fault> {
        let left = self.buffers_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(Fault::OutOfMemory("there is no memory left".to_owned()));
        }
        self.buffers_left.store(left - 1, Ordering::Relaxed);
        // What nobody wrote is not a number.
        let words = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(u64::MAX)).collect();
        Ok(HostBuffer { words, bytes })
    }

    fn address(&self, buffer: &HostBuffer) -> Address {
        Address(buffer.words.as_ptr() as u64)
    }

    fn upload(&self, from: &[u8]) -> Result<HostBuffer, Fault> {
        self.assert_apart();
        let buffer = self.buffer(from.len())?;
        buffer.fill(from);
        Ok(buffer)
    }

    fn download(&self, from: &HostBuffer, to: &mut [u8]) -> Result<(), Fault> {
        self.assert_apart();
        assert!(to.len() <= from.bytes, "{} bytes of {}", to.len(), from.bytes);
        for (to, word) in to.chunks_mut(8).zip(from.words()) {
            to.copy_from_slice(&word[..to.len()]);
        }
        Ok(())
    }

    fn copy(&self, from: &HostBuffer, to: &mut HostBuffer) -> Result<(), Fault> {
        assert_eq!(from.bytes, to.bytes, "copies are between buffers of one length");
        to.words.iter().zip(from.words()).for_each(|(to, word)| {
            to.store(u64::from_ne_bytes(word), Ordering::Relaxed);
        });
        Ok(())
    }

    fn page(&self, from: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(from.to_vec())
    }

    fn bring(&self, page: &mut Vec<u8>) -> Result<HostBuffer, Fault> {
        self.upload(page)
    }

    fn arrive(&self, arriving: HostBuffer) -> Result<HostBuffer, Fault> {
        Ok(arriving)
    }

    fn put_aside(
        &self,
        from: HostBuffer,
        to: &mut Vec<u8>,
    ) -> Result<(), (Option<HostBuffer>, Fault)> {
        self.download(&from, to).map_err(|fault| (Some(from), fault))
    }

    fn read_page(&self, from: &Vec<u8>, to: &mut [u8]) -> Result<(), Fault> {
        to.copy_from_slice(&from[..to.len()]);
        Ok(())
    }

    fn clear(&self, buffer: &mut HostBuffer) -> Result<(), Fault> {
        buffer.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch) -> Result<(), Fault> {
        self.launches.fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(launch.cost.operations, Ordering::Relaxed);
        self.host.run(launch, SEED).map_err(Fault::Refused)
    }

    fn as_one(
        &self,
        _: &dyn Fn() -> u64,
        work: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        assert!(!self.is_one.swap(true, Ordering::Relaxed), "one piece within another");
        let done = work();
        self.is_one.store(false, Ordering::Relaxed);
        done
    }

    fn multiply(&self, _: Way, _: Layer<'_, HostBuffer>) -> Result<bool, Fault> {
        Ok(false)
    }
}
