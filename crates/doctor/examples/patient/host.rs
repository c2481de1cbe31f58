//! Illnesses of programs that compute on the processor.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::compute;

/// A batch of data as it comes out of a pipe.
pub(super) const BATCH: usize = 4096;

/// Two threads that compute, for whom the first one waits.
pub(super) fn well(until: Instant) -> io::Result<()> {
    let threads = [0, 1].map(|_| {
        thread::spawn(move || {
            while Instant::now() < until {
                compute(5000);
            }
        })
    });
    join(threads)
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) -> io::Result<()> {
    let failed = |_| io::Error::other("a thread panicked");
    threads.into_iter().try_for_each(|thread| thread.join().map_err(failed))
}

/// Prepares batches for so many microseconds each, for as long as somebody takes them.
pub(super) fn worker(microseconds: &str) -> io::Result<()> {
    let cost = microseconds.parse().map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    loop {
        compute(cost);
        match out.write_all(&[7; BATCH]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
}

/// Starts a worker that prepares batches.
pub(super) fn start_worker(microseconds: u64) -> io::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(["worker", "0", &microseconds.to_string()]);
    command.stdout(Stdio::piped()).spawn()
}

/// A worker that takes four times as long for a batch as the training does.
pub(super) fn slow_workers(until: Instant) -> io::Result<()> {
    let mut worker = start_worker(16_000)?;
    let mut pipe = worker.stdout.take().expect("it is piped");
    let mut batch = [0; BATCH];
    while Instant::now() < until {
        pipe.read_exact(&mut batch)?;
        compute(4000);
    }
    drop(pipe);
    worker.wait().map(drop)
}

/// A thread that reads files and prepares them for the first one, which waits for it.
pub(super) fn loader_thread(until: Instant, path: &str) -> io::Result<()> {
    let path = path.to_owned();
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        while let Ok(bytes) = fs::read(&path) {
            compute(16_000);
            if sender.send(bytes.len()).is_err() {
                break;
            }
        }
    });
    while Instant::now() < until {
        receiver.recv().map_err(io::Error::other)?;
        compute(4000);
    }
    Ok(())
}

/// Opens and reads small files all the time, and computes little.
pub(super) fn small_files(until: Instant, folder: &str) -> io::Result<()> {
    let paths: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    for path in paths.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        compute(3);
    }
    Ok(())
}

/// Reads a file that comes slowly.
pub(super) fn slow_storage(until: Instant, path: &str) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 64 << 10];
    while Instant::now() < until && file.read(&mut block)? > 0 {
        compute(2000);
    }
    Ok(())
}

/// Writes a checkpoint after every few steps, and waits until it is safe.
pub(super) fn checkpoints(until: Instant, folder: &str) -> io::Result<()> {
    let state = vec![7; 48 << 20];
    let mut number = 0;
    while Instant::now() < until {
        compute(15_000);
        let path = format!("{folder}/{}", number % 2);
        let mut file = File::create(path)?;
        state.chunks(4 << 20).try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        number += 1;
    }
    Ok(())
}

/// Writes a line after every step, and waits until it is safe.
pub(super) fn logging(until: Instant, folder: &str) -> io::Result<()> {
    let path = format!("{folder}/log");
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut step = 0;
    while Instant::now() < until {
        compute(50);
        for part in 0..20 {
            writeln!(file, "step {step} part {part} loss 0.1234")?;
        }
        file.sync_data()?;
        step += 1;
    }
    Ok(())
}

/// Prints more than is read.
pub(super) fn output(until: Instant) -> io::Result<()> {
    let mut out = io::stdout().lock();
    while Instant::now() < until {
        out.write_all(&[b'x'; 4096])?;
        compute(200);
    }
    Ok(())
}

/// Threads that hold one lock while they compute.
pub(super) fn lock(until: Instant) -> io::Result<()> {
    let lock = Arc::new(Mutex::new(()));
    let threads = [0; 4].map(|_| {
        let lock = lock.clone();
        thread::spawn(move || {
            while Instant::now() < until {
                {
                    let _held = lock.lock().expect("nobody panics with it");
                    compute(3000);
                }
                // Whoever waits is to have it now.
                thread::yield_now();
            }
        })
    });
    join(threads)
}

/// Threads that meet after every few microseconds of work.
pub(super) fn pieces(until: Instant) -> io::Result<()> {
    let barrier = Arc::new(Barrier::new(2));
    let is_over = Arc::new(Mutex::new(false));
    let threads = [0, 1].map(|number| {
        let (barrier, is_over) = (barrier.clone(), is_over.clone());
        thread::spawn(move || {
            loop {
                compute(5);
                barrier.wait();
                if number == 0 {
                    *is_over.lock().expect("nobody panics with it") = Instant::now() >= until;
                }
                barrier.wait();
                if *is_over.lock().expect("nobody panics with it") {
                    break;
                }
            }
        })
    });
    join(threads)
}

/// Starts programs that end at once, all the time.
pub(super) fn forks(until: Instant) -> io::Result<()> {
    while Instant::now() < until {
        Command::new("true").status()?;
    }
    Ok(())
}
