//! A connection that is given up once its client takes nothing of what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A stream whose writes fail once none was taken for so long.
pub(super) struct Impatient {
    stream: TcpStream,
    wait: Duration,
    /// Ends the wait of a write that cannot go on.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    pub(super) fn new(stream: TcpStream, wait: Duration) -> Self {
        Self { stream, wait, stalled: None }
    }

    fn unless_stalled<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        ctx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let wait = self.wait;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(wait)));
        std::task::ready!(stalled.as_mut().poll(ctx));
        self.stalled = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(ctx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(ctx, bytes);
        self.unless_stalled(written, ctx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(ctx, slices);
        self.unless_stalled(written, ctx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::TcpListener;

    use super::*;

    static BLOCK: [u8; 64 << 10] = [7; 64 << 10];

    async fn write(stream: &mut Impatient) -> io::Result<usize> {
        poll_fn(|ctx| Pin::new(&mut *stream).poll_write(ctx, &BLOCK)).await
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up_and_who_takes_something_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Impatient::new(stream, Duration::from_millis(300));
        let mut written = 0;
        let refused = loop {
            match write(&mut server).await {
                Ok(bytes) => written += bytes,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(refused, io::ErrorKind::TimedOut);
        // What was written before can still be taken, and more goes on then.
        let mut taken = 0;
        while taken < written {
            client.readable().await.unwrap();
            taken += client.try_read(&mut vec![0; 1 << 20]).unwrap_or(0);
        }
        assert!(write(&mut server).await.is_ok());
    }
}
