//! Illnesses of programs that compute on a card.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Instant;

use cotenant_fake_cards::tenant::OwnTenant;

use super::compute;
use super::host::{BATCH, start_worker};

/// A card with memory of its own, and pinned memory of the host.
struct Card(OwnTenant);

impl Card {
    fn open() -> io::Result<Self> {
        let mut card = Self(OwnTenant::load().map_err(io::Error::other)?);
        for line in ["init", "alloc a 67108864", "alloc h 67108864 host", "event e0", "event e1"] {
            card.told(line)?;
        }
        Ok(card)
    }

    fn told(&mut self, line: &str) -> io::Result<()> {
        match self.0.tell(line) {
            answer if answer == "ok" || answer.starts_with("ok ") => Ok(()),
            answer => Err(io::Error::other(format!("{line}: {answer}"))),
        }
    }

    fn told_until(&mut self, until: Instant, lines: &[&str]) -> io::Result<()> {
        while Instant::now() < until {
            lines.iter().try_for_each(|line| self.told(line))?;
        }
        Ok(())
    }
}

/// Always has some kernels waiting for the card.
pub(super) fn well(until: Instant) -> io::Result<()> {
    let round = ["launch 10000000 count=6 blocks=1000", "record e0", "wait e1"];
    let next = ["launch 10000000 count=6 blocks=1000", "record e1", "wait e0"];
    Card::open()?.told_until(until, &[round, next].concat())
}

/// A worker takes longer for a batch than the card does.
pub(super) fn workers(until: Instant) -> io::Result<()> {
    let mut card = Card::open()?;
    let mut worker = start_worker(12_000)?;
    let mut pipe = worker.stdout.take().expect("it is piped");
    let mut batch = [0; BATCH];
    while Instant::now() < until {
        pipe.read_exact(&mut batch)?;
        card.told("copy to a h 65536")?;
        card.told("launch 3000000 blocks=1000")?;
    }
    drop(pipe);
    worker.wait().map(drop)
}

/// Fetches all it learnt and writes it after every few steps.
pub(super) fn checkpoints(until: Instant, folder: &str) -> io::Result<()> {
    let mut card = Card::open()?;
    let state = vec![7; 48 << 20];
    while Instant::now() < until {
        card.told("launch 3000000 count=4 blocks=1000")?;
        card.told("copy from a h 1048576 wait")?;
        let mut file = File::create(format!("{folder}/state"))?;
        state.chunks(4 << 20).try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
    }
    Ok(())
}

/// Copies each batch from memory that the driver does not know.
pub(super) fn unpinned(until: Instant) -> io::Result<()> {
    Card::open()?.told_until(until, &["copy to a - 8388608", "launch 3000000 blocks=1000"])
}

/// Copies each batch from pinned memory, and waits for it.
pub(super) fn synchronous(until: Instant) -> io::Result<()> {
    Card::open()?.told_until(until, &["copy to a h 8388608 wait", "launch 3000000 blocks=1000"])
}

/// Submits tens of thousands of kernels a second, each with what a framework does around it.
pub(super) fn tiny(until: Instant) -> io::Result<()> {
    let mut card = Card::open()?;
    while Instant::now() < until {
        card.told("launch 2000 blocks=1000")?;
        compute(12);
    }
    Ok(())
}

/// Looks at a value after every step, and only then makes the next one ready.
pub(super) fn waits(until: Instant) -> io::Result<()> {
    let mut card = Card::open()?;
    while Instant::now() < until {
        card.told("launch 5000000 blocks=1000")?;
        card.told("copy from a - 4 wait")?;
        compute(3000);
    }
    Ok(())
}

/// Steps of a few short kernels that fill a part of the card, with what a step costs around them.
pub(super) fn small(until: Instant) -> io::Result<()> {
    let mut card = Card::open()?;
    while Instant::now() < until {
        card.told("copy to a h 4096")?;
        card.told("launch 20000 count=4 blocks=4")?;
        compute(400);
    }
    Ok(())
}

/// Prepares each batch itself, which takes longer than the card does with it.
pub(super) fn inline(until: Instant) -> io::Result<()> {
    let mut card = Card::open()?;
    while Instant::now() < until {
        compute(9000);
        card.told("copy to a h 65536")?;
        card.told("launch 3000000 blocks=1000")?;
        card.told("sync")?;
    }
    Ok(())
}

/// Two illnesses at once, as heavy as `MICROSECONDS,BYTES` says.
pub(super) fn both(until: Instant, weights: &str) -> io::Result<()> {
    let bad = || io::Error::other("MICROSECONDS,BYTES are wanted");
    let (microseconds, bytes) = weights.split_once(',').ok_or_else(bad)?;
    let microseconds = microseconds.parse().map_err(|_| bad())?;
    let mut card = Card::open()?;
    while Instant::now() < until {
        card.told(&format!("copy to a - {bytes}"))?;
        card.told("launch 1000000 blocks=1000")?;
        compute(microseconds);
    }
    Ok(())
}
