//! Contexts: what a program has on one card, and which one a thread means.

use std::cell::RefCell;
use std::collections::HashMap;
use std::thread::ThreadId;

use cotenant_fake_cards::StreamId;

use super::{capture, memory};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{Out, driver};
use crate::state::{self, Driver, Handle, Tables};

thread_local! {
    static STACK: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// A context.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) card: usize,
    /// What it takes of the card's memory.
    bytes: u64,
    flags: u32,
    /// The default streams, made when first used.
    pub(crate) default_stream: Option<StreamId>,
    pub(crate) own_streams: HashMap<ThreadId, StreamId>,
}

/// The context of a card that everybody in the process shares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Primary {
    context: Option<Handle>,
    retained: u32,
    flags: u32,
}

/// The context that a thread means.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub(crate) driver: &'static Driver,
    pub(crate) context: Handle,
    pub(crate) card: usize,
}

driver! {
    7000 fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: i32) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let mut tables = driver.tables();
        let primary = tables.primaries[card];
        let handle = match primary.context {
            Some(handle) => handle,
            None => open(driver, &mut tables, card, primary.flags)?,
        };
        let retained = primary.retained + 1;
        tables.primaries[card] = Primary { context: Some(handle), retained, ..primary };
        context.set(handle)
    }

    7000 fn cuDevicePrimaryCtxRelease(device: i32) { release(device) }

    11000 fn cuDevicePrimaryCtxRelease_v2(device: i32) { release(device) }

    7000 fn cuDevicePrimaryCtxReset(device: i32) { reset(device) }

    11000 fn cuDevicePrimaryCtxReset_v2(device: i32) { reset(device) }

    7000 fn cuDevicePrimaryCtxSetFlags(device: i32, flags: u32) { set_flags(device, flags) }

    11000 fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) { set_flags(device, flags) }

    7000 fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, is_active: Out<i32>) {
        let driver = state::driver()?;
        let card = driver.check_card(device)?;
        let primary = driver.tables().primaries[card];
        flags.set(primary.flags)?;
        is_active.set(i32::from(primary.context.is_some()))
    }

    2000 fn cuCtxCreate(context: Out<Handle>, flags: u32, device: i32) {
        create(context, flags, device)
    }

    3020 fn cuCtxCreate_v2(context: Out<Handle>, flags: u32, device: i32) {
        create(context, flags, device)
    }

    11040 fn cuCtxCreate_v3(
        context: Out<Handle>,
        _affinity: usize,
        _affinities: i32,
        flags: u32,
        device: i32,
    ) {
        create(context, flags, device)
    }

    12050 fn cuCtxCreate_v4(context: Out<Handle>, _params: usize, flags: u32, device: i32) {
        create(context, flags, device)
    }

    2000 fn cuCtxDestroy(context: Handle) { destroy(context) }

    // The oldest way to end one: nobody attached to it here.
    2000 fn cuCtxDetach(context: Handle) { destroy(context) }

    4000 fn cuCtxDestroy_v2(context: Handle) { destroy(context) }

    2000 fn cuCtxPushCurrent(context: Handle) { push(context) }

    4000 fn cuCtxPushCurrent_v2(context: Handle) { push(context) }

    2000 fn cuCtxPopCurrent(context: Out<Handle>) { pop(context) }

    4000 fn cuCtxPopCurrent_v2(context: Out<Handle>) { pop(context) }

    4000 fn cuCtxSetCurrent(context: Handle) {
        if context != 0 {
            check(context)?;
        }
        STACK.with_borrow_mut(|stack| {
            stack.pop();
            stack.extend((context != 0).then_some(context));
        });
        Ok(())
    }

    4000 fn cuCtxGetCurrent(context: Out<Handle>) {
        state::driver()?;
        context.set(STACK.with_borrow(|stack| stack.last().copied().unwrap_or(0)))
    }

    2000 fn cuCtxGetDevice(device: Out<i32>) { device.set(current()?.card as i32) }

    13000 fn cuCtxGetDevice_v2(device: Out<i32>, context: Handle) {
        let current = if context == 0 { current()? } else { check(context)? };
        device.set(current.card as i32)
    }

    7000 fn cuCtxGetFlags(flags: Out<u32>) {
        let current = current()?;
        flags.set(current.driver.tables().contexts[&current.context].flags)
    }

    3020 fn cuCtxGetApiVersion(context: Handle, version: Out<u32>) {
        if context != 0 {
            check(context)?;
        }
        version.set(3020)
    }

    12000 fn cuCtxGetId(context: Handle, id: Out<u64>) {
        let current = if context == 0 { current()? } else { check(context)? };
        id.set(current.context as u64)
    }

    5050 fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        current()?;
        least.set_if_wanted(0);
        greatest.set_if_wanted(-5);
        Ok(())
    }

    3010 fn cuCtxGetLimit(value: Out<usize>, limit: i32) {
        current()?;
        match limit {
            0 => value.set(1024),
            1 => value.set(1 << 20),
            2 => value.set(8 << 20),
            3..=7 => value.set(0),
            _ => Err(cuda::INVALID_VALUE),
        }
    }

    3010 fn cuCtxSetLimit(limit: i32, _value: usize) {
        current()?;
        if (0..=7).contains(&limit) { Ok(()) } else { Err(cuda::INVALID_VALUE) }
    }

    3020 fn cuCtxGetCacheConfig(config: Out<i32>) { config.set(0) }

    3020 fn cuCtxSetCacheConfig(_config: i32) { current().map(drop) }

    4000 fn cuCtxEnablePeerAccess(peer: Handle, _flags: u32) { check(peer).map(drop) }

    4000 fn cuCtxDisablePeerAccess(peer: Handle) { check(peer).map(drop) }

    2000 fn cuCtxSynchronize() {
        let current = current()?;
        synchronize(&current)
    }

    13000 fn cuCtxSynchronize_v2(context: Handle) {
        let current = if context == 0 { current()? } else { check(context)? };
        synchronize(&current)
    }
}

/// The context that this thread means.
pub(crate) fn current() -> Result<Current, Code> {
    state::driver()?;
    let context = STACK.with_borrow(|stack| stack.last().copied());
    check(context.ok_or(cuda::INVALID_CONTEXT)?)
}

/// A context by its handle.
pub(crate) fn check(context: Handle) -> Result<Current, Code> {
    let driver = state::driver()?;
    let card = driver.tables().contexts.get(&context).map(|found| found.card);
    Ok(Current { driver, context, card: card.ok_or(cuda::INVALID_CONTEXT)? })
}

fn open(driver: &Driver, tables: &mut Tables, card: usize, flags: u32) -> Result<Handle, Code> {
    let bytes = driver.client.open_context(card)?;
    let handle = tables.new_handle();
    let (default_stream, own_streams) = (None, HashMap::new());
    tables.contexts.insert(handle, Context { card, bytes, flags, default_stream, own_streams });
    Ok(handle)
}

fn create(context: Out<Handle>, flags: u32, device: i32) -> Outcome {
    let driver = state::driver()?;
    let card = driver.check_card(device)?;
    let handle = open(driver, &mut driver.tables(), card, flags)?;
    STACK.with_borrow_mut(|stack| stack.push(handle));
    context.set(handle)
}

fn destroy(context: Handle) -> Outcome {
    let current = check(context)?;
    let mut tables = current.driver.tables();
    if tables.primaries.iter().any(|primary| primary.context == Some(context)) {
        return Err(cuda::INVALID_CONTEXT);
    }
    STACK.with_borrow_mut(|stack| stack.retain(|held| *held != context));
    close(current.driver, &mut tables, context);
    Ok(())
}

/// Takes away a context with all that was made in it.
fn close(driver: &Driver, tables: &mut Tables, context: Handle) {
    let Some(closed) = tables.contexts.remove(&context) else { return };
    memory::free_all(driver, tables, context);
    tables.modules.retain(|_, module| module.context != context);
    let streams = tables.streams.extract_if(|_, stream| stream.context == context);
    let streams: Vec<StreamId> = streams.map(|(_, stream)| stream.id).collect();
    let own = closed.own_streams.values().copied().chain(closed.default_stream);
    for stream in streams.into_iter().chain(own) {
        tables.captures.forget_stream(stream);
        driver.client.close_stream(stream);
    }
    for (_, event) in tables.events.extract_if(|_, event| event.context == context) {
        driver.client.close_event(event.id);
    }
    driver.client.close_context(closed.card, closed.bytes);
}

fn release(device: i32) -> Outcome {
    let driver = state::driver()?;
    let card = usize::try_from(device).ok().filter(|card| *card < driver.client.cards().len());
    let card = card.ok_or(cuda::INVALID_DEVICE)?;
    let mut tables = driver.tables();
    let primary = tables.primaries[card];
    let Some(context) = primary.context else { return Err(cuda::INVALID_CONTEXT) };
    let left = primary.retained - 1;
    tables.primaries[card].retained = left;
    if left == 0 {
        tables.primaries[card].context = None;
        close(driver, &mut tables, context);
    }
    Ok(())
}

fn reset(device: i32) -> Outcome {
    let driver = state::driver()?;
    let card = driver.check_card(device)?;
    let mut tables = driver.tables();
    let Some(context) = tables.primaries[card].context else { return Ok(()) };
    let (retained, flags) = (tables.primaries[card].retained, tables.primaries[card].flags);
    close(driver, &mut tables, context);
    tables.primaries[card] = Primary::default();
    // Whoever retained it keeps a context, empty but under the same handle.
    let bytes = driver.client.open_context(card)?;
    let (default_stream, own_streams) = (None, HashMap::new());
    tables.contexts.insert(context, Context { card, bytes, flags, default_stream, own_streams });
    tables.primaries[card] = Primary { context: Some(context), retained, flags };
    Ok(())
}

fn set_flags(device: i32, flags: u32) -> Outcome {
    let driver = state::driver()?;
    let card = driver.check_card(device)?;
    let mut tables = driver.tables();
    tables.primaries[card].flags = flags;
    let context = tables.primaries[card].context;
    if let Some(context) = context.and_then(|context| tables.contexts.get_mut(&context)) {
        context.flags = flags;
    }
    Ok(())
}

fn push(context: Handle) -> Outcome {
    check(context)?;
    STACK.with_borrow_mut(|stack| stack.push(context));
    Ok(())
}

fn pop(context: Out<Handle>) -> Outcome {
    let popped = STACK.with_borrow_mut(Vec::pop).ok_or(cuda::INVALID_CONTEXT)?;
    context.set_if_wanted(popped);
    Ok(())
}

/// Waits for all streams of a context.
pub(crate) fn synchronize(current: &Current) -> Outcome {
    let streams = {
        let mut tables = current.driver.tables();
        if tables.captures.are_open_in(current.context) {
            tables.captures.invalidate(current.context);
            return Err(cuda::STREAM_CAPTURE_UNSUPPORTED);
        }
        streams_of(&tables, current.context)
    };
    for stream in streams {
        current.driver.client.wait_for_stream(stream)?;
    }
    super::pool::trim_after_wait(current.driver);
    capture::call_host_functions(current.driver);
    current.driver.check_card(current.card as i32).map(drop)
}

/// Every stream of a context, the default ones too.
pub(crate) fn streams_of(tables: &Tables, context: Handle) -> Vec<StreamId> {
    let made = tables.streams.values().filter(|stream| stream.context == context);
    let mut streams: Vec<StreamId> = made.map(|stream| stream.id).collect();
    if let Some(context) = tables.contexts.get(&context) {
        streams.extend(context.own_streams.values().chain(&context.default_stream));
    }
    streams
}
