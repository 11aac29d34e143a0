//! Health, and numbers for Prometheus, over the least of HTTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use eyre::{Result, WrapErr};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How long a client may take to ask, and how long to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a path is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

/// Answers requests at an address by their path, until this process ends.
pub(crate) async fn serve<F: Future<Output = Answer> + Send + 'static>(
    at: SocketAddr,
    answer: impl Fn(String) -> F + Send + Sync + 'static,
) -> Result<SocketAddr> {
    let listener =
        TcpListener::bind(at).await.wrap_err_with(|| format!("cannot listen on {at}"))?;
    let at = listener.local_addr()?;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, perhaps: asking again at once would spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let answer = answer.clone();
            tokio::spawn(async move {
                let Ok(Some((mut stream, path))) = timeout(PATIENCE, path(stream)).await else {
                    return;
                };
                let Answer { status, text } = answer(path).await;
                let head = format!(
                    "HTTP/1.1 {status} .\r\ncontent-type: text/plain; version=0.0.4\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n",
                    text.len()
                );
                let told = async {
                    stream.write_all((head + &text).as_bytes()).await?;
                    stream.shutdown().await
                };
                // A client that went away, or that does not read, gets nothing more.
                let _ = timeout(PATIENCE, told).await;
            });
        }
    });
    Ok(at)
}

/// Which path is asked for, once the whole head of the request is there.
async fn path(stream: TcpStream) -> Option<(TcpStream, String)> {
    /// The most that the lines of a head may have, in bytes.
    const MOST: u64 = 16 << 10;
    let (mut stream, mut first) = (BufReader::new(stream.take(MOST)), None);
    loop {
        let mut line = vec![];
        stream.read_until(b'\n', &mut line).await.ok()?;
        // Cut off by the client, or too long.
        if !line.ends_with(b"\n") {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            return Some((stream.into_inner().into_inner(), first?));
        }
        first = first.or_else(|| {
            let target = line.split(' ').nth(1)?;
            Some(target.split('?').next().unwrap_or_default().to_owned())
        });
    }
}
