//! Events: when a stream got how far.

use cotenant_fake_cards::EventId;

use super::{capture, context, graph::Work, stream};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{Out, driver};
use crate::state::{self, Driver, Handle};

const DISABLE_TIMING: u32 = 2;

/// An event that the program made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) context: Handle,
    flags: u32,
}

driver! {
    2000 fn cuEventCreate(event: Out<Handle>, flags: u32) {
        let current = context::current()?;
        if flags > 7 {
            return Err(cuda::INVALID_VALUE);
        }
        let id = current.driver.client.open_event()?;
        let mut tables = current.driver.tables();
        let handle = tables.new_handle();
        tables.events.insert(handle, Event { id, context: current.context, flags });
        event.set(handle)
    }

    2000 fn cuEventDestroy(event: Handle) { destroy(event) }

    4000 fn cuEventDestroy_v2(event: Handle) { destroy(event) }

    2000 fn cuEventRecord(event: Handle, stream: Handle) / cuEventRecord_ptsz {
        record(event, stream)
    }

    11010 fn cuEventRecordWithFlags(
        event: Handle,
        stream: Handle,
        flags: u32,
    ) / cuEventRecordWithFlags_ptsz {
        if flags > 1 { Err(cuda::INVALID_VALUE) } else { record(event, stream) }
    }

    2000 fn cuEventQuery(event: Handle) {
        let (driver, found) = find(event)?;
        driver.tables().captures.refuse_unsafe()?;
        capture::call_host_functions(driver);
        if driver.client.is_event_done(found.id) { Ok(()) } else { Err(cuda::NOT_READY) }
    }

    2000 fn cuEventSynchronize(event: Handle) {
        let (driver, found) = find(event)?;
        driver.client.wait_for_event(found.id)?;
        super::pool::trim_after_wait(driver);
        let card = context::check(found.context)?.card;
        driver.check_card(card as i32).map(drop)
    }

    2000 fn cuEventElapsedTime(ms: Out<f32>, start: Handle, end: Handle) {
        elapsed(ms, start, end)
    }

    12080 fn cuEventElapsedTime_v2(ms: Out<f32>, start: Handle, end: Handle) {
        elapsed(ms, start, end)
    }
}

/// An event that is not a part of a capture.
fn find(event: Handle) -> Result<(&'static Driver, Event), Code> {
    let driver = state::driver()?;
    let mut tables = driver.tables();
    let found = *tables.events.get(&event).ok_or(cuda::INVALID_HANDLE)?;
    if tables.captures.has_event(event) {
        tables.captures.invalidate(found.context);
        return Err(cuda::CAPTURED_EVENT);
    }
    Ok((driver, found))
}

fn record(event: Handle, stream: Handle) -> Outcome {
    let target = stream::resolve(stream)?;
    let id = {
        let mut tables = target.driver.tables();
        let found = *tables.events.get(&event).ok_or(cuda::INVALID_HANDLE)?;
        tables.captures.note_event(target.id, event);
        found.id
    };
    stream::submit(&target, Work::Record(id))
}

fn elapsed(ms: Out<f32>, start: Handle, end: Handle) -> Outcome {
    let (driver, first) = find(start)?;
    let (_, last) = find(end)?;
    if (first.flags | last.flags) & DISABLE_TIMING != 0 {
        return Err(cuda::INVALID_HANDLE);
    }
    let time = |event: &Event| {
        let ns = driver.client.event_ns(event.id);
        let is_done = driver.client.is_event_done(event.id);
        ns.ok_or(if is_done { cuda::INVALID_HANDLE } else { cuda::NOT_READY })
    };
    let ns = time(&last)? as i64 - time(&first)? as i64;
    ms.set((ns as f64 / 1e6) as f32)
}

fn destroy(event: Handle) -> Outcome {
    let driver = state::driver()?;
    let removed = driver.tables().events.remove(&event);
    let removed = removed.ok_or(cuda::INVALID_HANDLE)?;
    driver.tables().captures.forget_event(event);
    driver.client.close_event(removed.id);
    Ok(())
}
