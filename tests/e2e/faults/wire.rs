//! The way to Postgres, watched: a proxy that knows which transaction is about to be committed.
//!
//! It follows the wire protocol only as far as it must: which statements a transaction ran, and its
//! COMMIT. A trap is named by a piece of such a statement.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use url::Url;

use super::trap::{Traps, When};

/// The proxy, as long as the test's runtime lives.
#[derive(Debug)]
pub(crate) struct Wire {
    port: u16,
    traps: Traps,
    /// Whether there are no connections to be had.
    full: watch::Sender<bool>,
}

/// What was committed on a connection and is not answered yet.
type Committing = Arc<Mutex<Option<String>>>;

impl Wire {
    /// Leads to the server of this URL.
    pub(crate) async fn start(server: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = (server.host_str().unwrap().to_owned(), server.port().unwrap());
        let (traps, (full, is_full)) = (Traps::default(), watch::channel(false));
        let watching = traps.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, traps) = (server.clone(), watching.clone());
                let mut is_full = is_full.clone();
                tokio::spawn(async move {
                    if *is_full.borrow() {
                        return drop(refuse(client).await);
                    }
                    // A refused connection looks the same on this side.
                    if let Ok(server) = TcpStream::connect(server).await {
                        tokio::select! {
                            () = connection(client, server, traps) => {}
                            _ = is_full.wait_for(|full| *full) => {}
                        }
                    }
                });
            }
        });
        Self { port, traps, full }
    }

    /// The same database through this proxy.
    pub(crate) fn through(&self, database: &Url) -> Url {
        let mut url = database.clone();
        url.set_port(Some(self.port)).unwrap();
        url
    }

    /// Loses every connection there is and refuses others as a server does that has none to spare; or
    /// lets them through again.
    pub(crate) fn is_full(&self, full: bool) {
        self.full.send_replace(full);
    }

    /// Moments to catch a commit at, by what its transaction did.
    pub(crate) fn traps(&self) -> &Traps {
        &self.traps
    }
}

/// Says what Postgres says when all its connections are taken.
async fn refuse(mut client: TcpStream) -> io::Result<()> {
    // It is asked for encryption first.
    message(&mut client).await?;
    client.write_all(b"N").await?;
    message(&mut client).await?;
    let error = b"SFATAL\0C53300\0Msorry, too many clients already\0\0";
    client.write_u8(b'E').await?;
    client.write_u32(4 + error.len() as u32).await?;
    client.write_all(error).await?;
    client.shutdown().await
}

/// Ends both ways as soon as one does, as a lost connection would.
async fn connection(client: TcpStream, server: TcpStream, traps: Traps) {
    // Messages go on one by one: held back until the one before is acknowledged, each takes 40 ms.
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let committing = Committing::default();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = requests(from_client, to_server, &traps, &committing) => {}
        _ = answers(from_server, to_client, &traps, &committing) => {}
    }
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    traps: &Traps,
    committing: &Committing,
) -> io::Result<()> {
    // Before a session has begun, messages have no type. Number 3 of the protocol begins it.
    loop {
        let (length, body) = message(&mut client).await?;
        server.write_all(&[&length[..], &body].concat()).await?;
        if body.starts_with(&[0, 3]) {
            break;
        }
    }
    let mut statements: HashMap<Vec<u8>, String> = HashMap::new();
    let mut ran = String::new();
    loop {
        let kind = client.read_u8().await?;
        let (length, body) = message(&mut client).await?;
        let mut parts = body.split(|byte| *byte == 0);
        let [first, second] = [0, 1].map(|_| parts.next().unwrap_or_default().to_vec());
        match (kind, &first[..]) {
            (b'P', _) => {
                statements.insert(first, String::from_utf8_lossy(&second).into());
            }
            (b'B', _) => {
                ran.push_str(statements.get(&second).map_or("", String::as_str));
                ran.push('\n');
            }
            (b'Q', b"COMMIT") => {
                let ran = std::mem::take(&mut ran);
                if let Some(held) = traps.spring(&ran, When::Before)
                    && !held.let_go(client.as_ref()).await
                {
                    return Ok(());
                }
                *committing.lock().unwrap() = Some(ran);
            }
            (b'Q', b"ROLLBACK") => ran.clear(),
            _ => {}
        }
        server.write_all(&[&[kind], &length[..], &body].concat()).await?;
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    traps: &Traps,
    committing: &Committing,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let committed = committing.lock().unwrap().take();
        if let Some(held) = committed.and_then(|ran| traps.spring(&ran, When::After))
            && !held.let_go(client.as_ref()).await
        {
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
    }
}

/// A length, which counts itself, and what follows it.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<([u8; 4], Vec<u8>)> {
    let length = from.read_u32().await?;
    let mut body = vec![0; (length as usize).saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok((length.to_be_bytes(), body))
}
