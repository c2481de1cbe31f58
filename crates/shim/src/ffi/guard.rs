//! What stands around every function that programs call.
//!
//! A panic ends here and is counted: the call is then the driver's own. The driver's calls into
//! itself, should any come by this way, are left alone.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::state;

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Resets the mark when the outermost call is over, however it ends.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.with(|inside| inside.set(false));
    }
}

/// Runs what stands before a driver's function.
#[inline]
pub(super) fn guarded<R, B>(real: R, body: B) -> c_int
where
    R: Fn() -> c_int,
    B: FnOnce(&dyn Fn() -> c_int) -> c_int,
{
    if IS_INSIDE.with(|inside| inside.replace(true)) {
        return real();
    }
    let _inside = Inside;
    let answered = Cell::new(None);
    let call = || {
        let answer = real();
        answered.set(Some(answer));
        answer
    };
    match catch_unwind(AssertUnwindSafe(|| body(&call))) {
        Ok(answer) => answer,
        Err(payload) => {
            // Dropping it could panic again, and what that throws is left lying.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            state::count_failure();
            answered.get().unwrap_or_else(real)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_drivers_own_answer() {
        let calls = Cell::new(0);
        let real = || {
            calls.set(calls.get() + 1);
            7
        };
        std::panic::set_hook(Box::new(|_| {}));
        assert_eq!(guarded(real, |_| panic!("before the driver was called")), 7);
        assert_eq!(calls.get(), 1);
        let after = guarded(real, |call| {
            call();
            panic!("after it was called")
        });
        let _ = std::panic::take_hook();
        assert_eq!((after, calls.get()), (7, 2), "it is not called twice");
        assert_eq!(guarded(real, |call| call() + 1), 8);
    }

    #[test]
    fn the_drivers_calls_into_itself_are_its_own() {
        let answer = guarded(|| 1, |_| guarded(|| 2, |_| panic!("inside")));
        assert_eq!(answer, 2);
        assert_eq!(guarded(|| 1, |_| 3), 3, "afterwards all is as before");
    }
}
