//! A connection whose other end may send only so much.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads until so many bytes have come; from then on it fails, and `left` is 0.
pub(super) struct Bounded<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, left: Arc<AtomicUsize>) -> Self {
        Self { stream, left }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let came = buf.filled().len() - before;
        // It is read by one task at a time.
        let left = self.left.load(Ordering::Relaxed).saturating_sub(came);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            // A read that fails has read nothing.
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::other("the other end sent too much")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn it_reads_so_much_and_no_more() {
        let bounded = |most| Bounded::new(&b"abcdef"[..], Arc::new(AtomicUsize::new(most)));
        let mut read = Vec::new();
        assert_eq!(bounded(7).read_to_end(&mut read).await.unwrap(), 6);
        let mut short = bounded(6);
        assert!(short.read_to_end(&mut Vec::new()).await.is_err());
        assert_eq!(short.left.load(Ordering::Relaxed), 0);
    }
}
