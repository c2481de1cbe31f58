//! Connections: how many there are, and how long they may say nothing.
//!
//! A client that begins a request and never ends it, sends its head byte by byte, or sends heads
//! without end, holds a connection for a while and nothing else; of connections there are so many.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::stall::Impatient;

/// Most connections at a time, and no more than half of the files that the process may have open,
/// since the index and adapters need files too; who comes then waits until one is closed.
const CONNECTIONS_MAX: usize = 4096;
/// What the system says of the process's limits.
const LIMITS: &str = "/proc/self/limits";
/// Longest time for the head of a request, the time before its first byte included.
const HEAD_WAIT: Duration = Duration::from_secs(60);
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long to wait where the system gives no connection, mostly for want of file handles.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// How long others are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// For a client to send a body, or to take more of an answer.
    pub(crate) client: Duration,
    /// For requests that are under way once the server is told to end.
    pub(crate) end: Duration,
}

/// Answers requests until it is told to end, and those under way then.
pub(super) async fn serve(
    listener: TcpListener,
    (router, waits): (Router, Waits),
    ending: watch::Receiver<bool>,
) {
    let files = fs::read_to_string(LIMITS).ok().and_then(|limits| files_max(&limits));
    let connections_max = files.map_or(CONNECTIONS_MAX, |files| CONNECTIONS_MAX.min(files / 2));
    let room = Arc::new(Semaphore::new(connections_max.max(1)));
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut told = ending.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            // A sender that is gone has told it too.
            _ = told.wait_for(|ending| *ending) => break,
        };
        let Some((stream, room)) = accepted else { continue };
        let (router, open, told) = (router.clone(), open.clone(), ending.clone());
        tokio::spawn(async move {
            converse(Impatient::new(stream, waits.client), router, told).await;
            drop((room, open));
        });
    }
    drop((open, listener));
    // Nothing is ever sent: it ends when the last connection has dropped its end, or time is up.
    let _ = tokio::time::timeout(waits.end, all_closed.recv()).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let room = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written as a whole, so there is nothing to wait for; without it they go
            // later.
            let _ = stream.set_nodelay(true);
            Some((stream, room))
        }
        Err(_) => {
            tokio::time::sleep(ACCEPT_WAIT).await;
            None
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: Impatient, router: Router, mut told: watch::Receiver<bool>) {
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Whatever is wrong with a connection is its client's.
        _ = connection.as_mut() => return,
        _ = told.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// How many files a process may have open, by what the system says of its limits.
fn files_max(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_one_that_holds() {
        let limits = "Limit           Soft Limit      Hard Limit      Units     \n\
                      Max processes   47860           47860           processes \n\
                      Max open files  1024            524288          files     \n";
        assert_eq!(files_max(limits), Some(1024));
        assert_eq!(files_max("Max open files  unlimited  unlimited  files"), None);
        assert_eq!(files_max(""), None);
    }
}
