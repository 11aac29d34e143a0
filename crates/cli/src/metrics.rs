//! Numbers for Prometheus, over the least of HTTP.

use std::{net::SocketAddr, sync::Arc};

use eyre::{Result, WrapErr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers every request at an address with what `render` makes, until this process ends.
pub(crate) async fn serve(
    at: SocketAddr,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> Result<SocketAddr> {
    let listener =
        TcpListener::bind(at).await.wrap_err_with(|| format!("cannot listen on {at}"))?;
    let at = listener.local_addr()?;
    let render = Arc::new(render);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let render = render.clone();
            tokio::spawn(async move {
                // Whatever was asked, there is one answer.
                let _ = stream.read(&mut [0; 4096]).await;
                let body = render();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    Ok(at)
}
