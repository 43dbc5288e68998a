//! Connections: accepted up to a number, read with patience that ends, and closed when the server stops.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Takes a connection when there is room for one more, and counts it.
#[derive(Debug, Clone)]
pub(crate) struct Doorman {
    places: Arc<Semaphore>,
    patience: Duration,
}

/// A connection, and its place among those that are open.
pub(crate) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Doorman {
    /// Lets so many in, and gives each so long to say something.
    pub(crate) fn new(max_connections: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(max_connections)), patience }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Doorman {
    type Stream = Connection;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Connection, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (places, patience) = (self.places.clone(), self.patience);
        Box::pin(async move {
            // An answer is one write; it should not wait for another.
            stream.set_nodelay(true)?;
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            metrics::gauge!("tamis_connections").increment(1.0);
            let connection = Connection { stream, _place: place };
            tokio::time::timeout(patience, connection.stream.peek(&mut [0]))
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??;
            Ok((connection, service))
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!("tamis_connections").decrement(1.0);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Binds an address.
///
/// # Errors
/// When it is taken or not ours.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Closes connections whose next request does not come within a time. Only HTTP/1 is spoken: no client of
/// these formats asks for more, and finding out what a silent one speaks would have no end.
pub(crate) fn impatient(builder: &mut Builder<TokioExecutor>, patience: Duration) {
    *builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience);
}
