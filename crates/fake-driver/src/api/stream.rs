//! Streams, and how a call finds the one that it means.

use std::thread;

use cotenant_fake_cards::{Kernel, StreamId, StreamRole, Submission};

use super::{capture, context, graph::Work};
use crate::codes::{Code, Outcome, cuda};
use crate::ffi::{Out, driver};
use crate::state::{self, Driver, Handle};

/// Handles that mean a default stream: whichever the call has, that of all, the thread's own.
const DEFAULT: Handle = 0;
const LEGACY: Handle = 1;
const PER_THREAD: Handle = 2;
const NON_BLOCKING: u32 = 1;

/// A stream that the program made.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) context: Handle,
    card: usize,
    flags: u32,
    priority: i32,
}

/// The stream that a call means.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) driver: &'static Driver,
    pub(crate) id: StreamId,
    pub(crate) context: Handle,
    pub(crate) card: usize,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    /// Whether it is the default stream of all threads, on which others depend unsaid.
    pub(crate) is_legacy: bool,
}

driver! {
    2000 fn cuStreamCreate(stream: Out<Handle>, flags: u32) { create(stream, flags, 0) }

    5050 fn cuStreamCreateWithPriority(stream: Out<Handle>, flags: u32, priority: i32) {
        create(stream, flags, priority)
    }

    2000 fn cuStreamDestroy(stream: Handle) { destroy(stream) }

    4000 fn cuStreamDestroy_v2(stream: Handle) { destroy(stream) }

    2000 fn cuStreamQuery(stream: Handle) / cuStreamQuery_ptsz {
        let target = resolve(stream)?;
        refuse_capture(&target)?;
        capture::call_host_functions(target.driver);
        target.driver.check_card(target.card as i32)?;
        if target.driver.client.is_stream_done(target.id) { Ok(()) } else { Err(cuda::NOT_READY) }
    }

    2000 fn cuStreamSynchronize(stream: Handle) / cuStreamSynchronize_ptsz {
        let target = resolve(stream)?;
        refuse_capture(&target)?;
        synchronize(&target)
    }

    3020 fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) / cuStreamWaitEvent_ptsz {
        let target = resolve(stream)?;
        let id = {
            let mut tables = target.driver.tables();
            let id = tables.events.get(&event).ok_or(cuda::INVALID_HANDLE)?.id;
            if tables.captures.join(target.id, event)? {
                return Ok(());
            }
            id
        };
        submit(&target, Work::Await(id))
    }

    10000 fn cuLaunchHostFunc(
        stream: Handle,
        function: usize,
        data: usize,
    ) / cuLaunchHostFunc_ptsz {
        if function == 0 {
            return Err(cuda::INVALID_VALUE);
        }
        submit(&resolve(stream)?, Work::Host { function, data })
    }

    5050 fn cuStreamGetPriority(stream: Handle, priority: Out<i32>) / cuStreamGetPriority_ptsz {
        priority.set(resolve(stream)?.priority)
    }

    5050 fn cuStreamGetFlags(stream: Handle, flags: Out<u32>) / cuStreamGetFlags_ptsz {
        flags.set(resolve(stream)?.flags)
    }

    9020 fn cuStreamGetCtx(stream: Handle, context: Out<Handle>) / cuStreamGetCtx_ptsz {
        context.set(resolve(stream)?.context)
    }

    12080 fn cuStreamGetDevice(stream: Handle, device: Out<i32>) / cuStreamGetDevice_ptsz {
        device.set(resolve(stream)?.card as i32)
    }

    12000 fn cuStreamGetId(stream: Handle, id: Out<u64>) / cuStreamGetId_ptsz {
        resolve(stream)?;
        id.set(stream as u64)
    }
}

/// The stream that a handle means in this call.
pub(crate) fn resolve(stream: Handle) -> Result<Target, Code> {
    let driver = state::driver()?;
    if stream > PER_THREAD {
        let tables = driver.tables();
        let found = tables.streams.get(&stream).ok_or(cuda::INVALID_HANDLE)?;
        let Stream { id, context, card, flags, priority } = *found;
        return Ok(Target { driver, id, context, card, flags, priority, is_legacy: false });
    }
    let current = context::current()?;
    let is_own = stream == PER_THREAD
        || stream == DEFAULT && stream != LEGACY && state::has_own_default_stream();
    let mut tables = driver.tables();
    let found = tables.contexts.get_mut(&current.context).ok_or(cuda::INVALID_CONTEXT)?;
    let made = match is_own {
        true => found.own_streams.get(&thread::current().id()).copied(),
        false => found.default_stream,
    };
    let id = match made {
        Some(id) => id,
        None => {
            let role = if is_own { StreamRole::Blocking } else { StreamRole::Default };
            let id = driver.client.open_stream(current.card, role, 0)?;
            match is_own {
                true => drop(found.own_streams.insert(thread::current().id(), id)),
                false => found.default_stream = Some(id),
            }
            id
        }
    };
    let (context, card) = (current.context, current.card);
    Ok(Target { driver, id, context, card, flags: 0, priority: 0, is_legacy: !is_own })
}

/// Puts work into a stream, or into the graph that the stream is being made into.
pub(crate) fn submit(target: &Target, work: Work) -> Outcome {
    {
        let mut tables = target.driver.tables();
        if tables.captures.is_capturing(target.id) {
            return capture::add(&mut tables, target.id, work);
        }
        if target.is_legacy && tables.captures.are_open_in(target.context) {
            tables.captures.invalidate(target.context);
            return Err(cuda::STREAM_CAPTURE_IMPLICIT);
        }
    }
    perform(target, &work)
}

/// Puts work into a stream that is not captured.
pub(crate) fn perform(target: &Target, work: &Work) -> Outcome {
    let submission = match *work {
        Work::Kernel(kernel) => Submission::Kernel(kernel),
        Work::Copy(bytes) => Submission::Copy(bytes),
        Work::Record(event) => Submission::Record(event),
        Work::Await(event) => Submission::Await(event),
        Work::Host { function, data } => {
            Submission::Host(capture::keep_host_function(target.driver, function, data))
        }
        Work::Child(ref works) => return perform_all(target, works),
        Work::Nothing => return Ok(()),
    };
    Ok(target.driver.client.submit(target.id, submission)?)
}

/// Puts several works into a stream as one launch; kernels that follow one another become one.
pub(crate) fn perform_all(target: &Target, works: &[Work]) -> Outcome {
    let mut together: Option<Kernel> = None;
    for work in works {
        if let Work::Kernel(kernel) = *work {
            together = Some(together.map_or(kernel, |sum| Kernel {
                duration_ns: sum.duration_ns.saturating_add(kernel.duration_ns),
                sms: sum.sms.max(kernel.sms),
                count: sum.count + kernel.count,
            }));
            continue;
        }
        if let Some(kernel) = together.take() {
            target.driver.client.submit(target.id, Submission::Kernel(kernel))?;
        }
        perform(target, work)?;
    }
    match together {
        Some(kernel) => Ok(target.driver.client.submit(target.id, Submission::Kernel(kernel))?),
        None => Ok(()),
    }
}

/// Waits until a stream did all that is in it.
pub(crate) fn synchronize(target: &Target) -> Outcome {
    target.driver.client.wait_for_stream(target.id)?;
    super::pool::trim_after_wait(target.driver);
    Ok(())
}

/// Asking after a stream that is captured spoils the capture.
pub(crate) fn refuse_capture(target: &Target) -> Outcome {
    let mut tables = target.driver.tables();
    let is_implied = target.is_legacy && tables.captures.are_open_in(target.context);
    if tables.captures.is_capturing(target.id) || is_implied {
        tables.captures.invalidate(target.context);
        return Err(match is_implied {
            true => cuda::STREAM_CAPTURE_IMPLICIT,
            false => cuda::STREAM_CAPTURE_UNSUPPORTED,
        });
    }
    Ok(())
}

fn create(stream: Out<Handle>, flags: u32, priority: i32) -> Outcome {
    let current = context::current()?;
    let role = match flags {
        0 => StreamRole::Blocking,
        NON_BLOCKING => StreamRole::NonBlocking,
        _ => return Err(cuda::INVALID_VALUE),
    };
    let priority = priority.clamp(-5, 0);
    let id = current.driver.client.open_stream(current.card, role, priority)?;
    let mut tables = current.driver.tables();
    let handle = tables.new_handle();
    let (context, card) = (current.context, current.card);
    tables.streams.insert(handle, Stream { id, context, card, flags, priority });
    stream.set(handle)
}

/// Ends a stream. What is in it is waited for here, where the real driver lets it end by itself.
fn destroy(stream: Handle) -> Outcome {
    let driver = state::driver()?;
    let removed = driver.tables().streams.remove(&stream);
    let id = removed.ok_or(cuda::INVALID_HANDLE)?.id;
    driver.tables().captures.forget_stream(id);
    let waited = driver.client.wait_for_stream(id);
    driver.client.close_stream(id);
    Ok(waited?)
}
