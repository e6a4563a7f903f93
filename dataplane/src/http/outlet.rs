//! Sending from pages: what lies in a file in memory goes to a plain TCP socket by sendfile, without being copied.
//!
//! hyper hands over slices of bytes and knows nothing of files; a slice is known by its address to be in one. Short
//! slices, a head and its small content, are put together first: the kernel takes one buffer faster than two.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pages::Pages;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Up to this many bytes are copied to leave as one buffer.
const SHORT_BYTES_MAX: usize = 4096;

thread_local! {
    static SHORT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SHORT_BYTES_MAX));
}

/// A stream of a client's connection.
pub(super) trait Outlet: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket, where bytes leave as they are.
    fn plain(&self) -> Option<&TcpStream>;
}

impl Outlet for TcpStream {
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Outlet for TlsStream<TcpStream> {
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

/// As [`AsyncWrite::poll_write_vectored`]; what of `bufs` is in `pages` is not copied.
pub(super) fn poll_send<T: Outlet>(
    mut stream: Pin<&mut T>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
    pages: Option<&Arc<Pages>>,
) -> Poll<io::Result<usize>> {
    let (Some(pages), Some(socket)) = (pages, stream.plain()) else {
        return stream.as_mut().poll_write_vectored(cx, bufs);
    };
    if bufs.len() > 1 && bufs.iter().map(|buf| buf.len()).sum::<usize>() <= SHORT_BYTES_MAX {
        return SHORT.with_borrow_mut(|short| {
            short.clear();
            for buf in bufs {
                short.extend_from_slice(buf);
            }
            stream.as_mut().poll_write(cx, short)
        });
    }
    let copied = bufs.iter().take_while(|buf| pages.offset_of(buf).is_none()).count();
    match (bufs.get(..copied), bufs.get(copied)) {
        (Some([]), Some(first)) => {
            let offset = pages.offset_of(first).unwrap_or_default();
            poll_io(socket, cx, || {
                let mut offset = offset;
                rustix::fs::sendfile(socket, pages.file(), Some(&mut offset), first.len())
            })
        }
        // A head before its content: they are to leave together.
        (Some([head]), Some(_)) => poll_io(socket, cx, || rustix::net::send(socket, head, SendFlags::MORE)),
        (Some(before), _) => stream.as_mut().poll_write_vectored(cx, before),
        (None, _) => stream.as_mut().poll_write_vectored(cx, bufs),
    }
}

fn poll_io(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut send: impl FnMut() -> rustix::io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || Ok(send()?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn bytes_arrive_in_order_wherever_they_are() {
        let pages = Pages::new(1 << 18, 4).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let pieces = [
            bytes::Bytes::from_static(b"head"),
            pages.keep(&vec![1; 200_000]).unwrap(),
            pages.keep(&vec![2; 1 << 18]).unwrap().slice(5..),
            bytes::Bytes::from(vec![3; 70_000]),
            bytes::Bytes::from_static(b"tail"),
            pages.keep(&[4; 10]).unwrap(),
        ];
        let expected = pieces.concat();
        let mut sent = 0;
        while sent < expected.len() {
            let (mut skip, mut bufs) = (sent, Vec::new());
            for piece in &pieces {
                let from = skip.min(piece.len());
                skip -= from;
                if from < piece.len() {
                    bufs.push(IoSlice::new(&piece[from..]));
                }
            }
            let write = std::future::poll_fn(|cx| poll_send(Pin::new(&mut stream), cx, &bufs, Some(&pages)));
            sent += write.await.unwrap();
        }
        drop(stream);
        assert!(reading.await.unwrap() == expected);
    }
}
