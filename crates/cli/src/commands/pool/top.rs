//! `cotenant top`

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::failure::Failure;
use super::frame::Frame;
use super::link::Pool;
use super::screen::{self, Screen};
use crate::args::pool::TopArgs;
use crate::commands::Ended;
use crate::console::{Console, Reader};
use crate::words::now_ms;

/// Seconds between frames, if nobody says otherwise.
const INTERVAL_S: u32 = 1;

/// Columns of a frame that no terminal bounds.
const WIDTH: usize = 120;

/// Exit code where a second signal does not let the program end by itself.
const STOPPED: i32 = 130;

/// Shows the pool once, or again and again.
pub(super) fn run(arguments: &TopArgs, console: &Console) -> Ended {
    let pool = Pool::open(&arguments.pool)?;
    let interval_s = arguments.interval_s.unwrap_or(INTERVAL_S);
    let interval = Duration::from_secs(interval_s.into());
    if io::stdout().is_terminal() && !console.json && !arguments.once {
        return live(&pool, interval, console);
    }
    let is_once = arguments.once || (arguments.interval_s.is_none() && !io::stdout().is_terminal());
    loop {
        let frame = whole(&pool)?;
        let text = || {
            let lines = frame.lines(pool.address(), now_ms(), WIDTH);
            lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
        };
        let reader = console.more_data(&frame, text)?;
        if is_once || reader == Reader::IsGone {
            return Ok(ExitCode::SUCCESS);
        }
        if !console.json {
            console.raw(b"\n")?;
        }
        thread::sleep(interval);
    }
}

/// Every card of the pool.
fn whole(pool: &Pool) -> Result<Frame, Failure> {
    let view = pool.ask("show the pool", |client| client.pool())?;
    Ok(Frame { pool: view, page: pool.cards()? })
}

/// Draws the pool until a signal comes or the pool does not answer.
fn live(pool: &Pool, interval: Duration, console: &Console) -> Ended {
    // A pool that is not there is told of without a flicker.
    pool.ask("show the pool", |client| client.pool())?;
    let signals = signals(*console)?;
    let screen = Screen::enter(console)?;
    loop {
        let (rows, columns) = screen.size();
        let frame = first(pool, rows)?;
        let lines = frame.lines(pool.address(), now_ms(), columns);
        if screen.draw(&lines)? == Reader::IsGone {
            return Ok(ExitCode::SUCCESS);
        }
        match signals.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The cards that a screen has room for: each takes a line and more.
fn first(pool: &Pool, rows: usize) -> Result<Frame, Failure> {
    let limit = u32::try_from(rows.clamp(1, 1000)).expect("a thousand fits");
    let what = "show the pool";
    let view = pool.ask(what, |client| client.pool())?;
    let page = pool.ask(what, |client| client.cards(None, limit))?;
    Ok(Frame { pool: view, page })
}

/// The first signal is told of here; the second ends the program at once, as a pool that is slow to
/// answer would keep it.
fn signals(console: Console) -> Result<Receiver<()>, String> {
    let (sender, receiver) = channel();
    let is_told = AtomicBool::new(false);
    let handler = move || {
        if is_told.swap(true, Ordering::Relaxed) || sender.send(()).is_err() {
            screen::leave(&console);
            std::process::exit(STOPPED);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| {
        format!("listen for signals: {error}\nhint: print one frame with --once")
    })?;
    Ok(receiver)
}
