//! What this driver has and no other: for programs that know they are in a test.
//!
//! They are found as the driver's functions are.

use crate::codes::cuda;
use crate::ffi::{Out, TextOut, driver};
use crate::state;

driver! {
    2000 fn cotenantFakeNow(ns: Out<u64>) { ns.set(state::driver()?.client.now_ns()) }

    2000 fn cotenantFakeSleep(ns: u64) {
        let client = &state::driver()?.client;
        Ok(client.wait_for_time(client.now_ns().saturating_add(ns))?)
    }

    2000 fn cotenantFakeRest() {
        state::driver()?.client.rest();
        Ok(())
    }

    2000 fn cotenantFakeResume() {
        state::driver()?.client.resume();
        Ok(())
    }

    2000 fn cotenantFakeError(text: TextOut, room: usize) {
        match state::cards() {
            Ok(_) => Err(cuda::NOT_FOUND),
            Err(said) => text.set(said, room).map(drop),
        }
    }
}
