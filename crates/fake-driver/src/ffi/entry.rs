//! How a function of the driver is written: its version, its names, its arguments and its body.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codes::{Code, Outcome, cuda, nvml};
use crate::state;

/// The calls of one exported function pass through here.
#[derive(Debug)]
pub(crate) struct Entry {
    name: &'static str,
    /// Where its calls are counted, plus one; 0 until the first.
    slot: AtomicUsize,
}

/// A function that a program can look up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exported {
    pub(crate) name: &'static str,
    /// The version of CUDA that brought it, such as 12040.
    pub(crate) since: u32,
    pub(crate) address: usize,
}

impl Entry {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, slot: AtomicUsize::new(0) }
    }

    /// A call of the driver.
    pub(crate) fn cuda(&self, body: impl FnOnce() -> Outcome) -> i32 {
        self.call(body, cuda::UNKNOWN)
    }

    /// A call of the driver whose default stream is the thread's own.
    pub(crate) fn cuda_per_thread(&self, body: impl FnOnce() -> Outcome) -> i32 {
        self.cuda(|| state::with_own_default_stream(body))
    }

    /// A call of NVML, which works in children too.
    pub(crate) fn nvml(&self, body: impl FnOnce() -> Outcome) -> i32 {
        self.call(body, nvml::UNKNOWN)
    }

    fn call(&self, body: impl FnOnce() -> Outcome, panicked: Code) -> i32 {
        let called = panic::catch_unwind(AssertUnwindSafe(|| {
            self.count().map_or(Ok(()), Err)?;
            body()
        }));
        match called {
            Ok(Ok(())) => 0,
            Ok(Err(code)) => code.0,
            Err(_) => panicked.0,
        }
    }

    /// Counts the call; a code is what it shall return.
    fn count(&self) -> Option<Code> {
        let cards = state::cards().ok()?;
        let mut slot = self.slot.load(Ordering::Relaxed);
        if slot == 0 {
            slot = cards.function_slot(self.name) + 1;
            self.slot.store(slot, Ordering::Relaxed);
        }
        cards.count_call(slot - 1).map(|code| Code(code as i32))
    }
}

/// Functions of the driver, each as `VERSION fn NAME(ARGUMENTS) / NAME_OF_THE_PER_THREAD_KIND BODY`;
/// those of NVML after `nvml:`. The body gives an [`Outcome`].
macro_rules! driver {
    (@one $way:ident, $name:ident, ($($arg:ident: $type:ty),* $(,)?), $body:block) => {
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "it is NVIDIA's function")]
        pub(crate) extern "C" fn $name($($arg: $type),*) -> i32 {
            static ENTRY: $crate::ffi::Entry = $crate::ffi::Entry::new(stringify!($name));
            ENTRY.$way(|| $body)
        }
    };
    (nvml: $(fn $name:ident $args:tt $body:block)*) => {
        $($crate::ffi::driver! { @one nvml, $name, $args, $body })*
    };
    ($($since:literal fn $name:ident $args:tt $(/ $per_thread:ident)? $body:block)*) => {
        $(
            $crate::ffi::driver! { @one cuda, $name, $args, $body }
            $($crate::ffi::driver! { @one cuda_per_thread, $per_thread, $args, $body })?
        )*
        /// The functions above, for whoever looks one up.
        pub(crate) fn exported() -> Vec<$crate::ffi::Exported> {
            vec![$(
                $crate::ffi::Exported {
                    name: stringify!($name),
                    since: $since,
                    address: $name as *const () as usize,
                },
                $($crate::ffi::Exported {
                    name: stringify!($per_thread),
                    since: if $since < 7000 { 7000 } else { $since },
                    address: $per_thread as *const () as usize,
                },)?
            )*]
        }
    };
}

pub(crate) use driver;
