//! Who tells of new blocks: heard at once, believed nothing, and missed by nobody.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use cofferdam_contracts::RpcUrl;
use cofferdam_indexer::Indexer;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    ground::{Ground, Mirrored},
    is_whole,
};

/// Nobody waits for such a poll.
const NEVER: Duration = Duration::from_secs(3_600);

/// What becomes of whoever connects.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Passes,
    Refused,
    Nonsense,
    Silence,
}

/// A line to a node's WebSocket, which can break.
struct Line {
    url: RpcUrl,
    fate: Arc<Mutex<Fate>>,
    connected: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Line {
    async fn to(node: &RpcUrl) -> Self {
        let node: SocketAddr = node.expose().socket_addrs(|| None).expect("an address")[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let url = RpcUrl::web_socket(&format!("ws://{at}")).expect("a URL");
        let fate = Arc::new(Mutex::new(Fate::Passes));
        let connected = Arc::new(Mutex::new(vec![]));
        let (now, lines) = (fate.clone(), connected.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let fate = *now.lock().expect("not poisoned");
                let line = tokio::spawn(async move {
                    match fate {
                        Fate::Passes => {
                            let mut node = TcpStream::connect(node).await.expect("a node");
                            let _ = copy_bidirectional(&mut stream, &mut node).await;
                        }
                        Fate::Refused => {}
                        Fate::Nonsense => drop(stream.write_all(&[0xff; 512]).await),
                        Fate::Silence => sleep(NEVER).await,
                    }
                });
                lines.lock().expect("not poisoned").push(line);
            }
        });
        Self { url, fate, connected }
    }

    /// Cuts whoever is connected off; this is what becomes of those who connect from now on.
    fn cut(&self, fate: Fate) {
        *self.fate.lock().expect("not poisoned") = fate;
        self.connected.lock().expect("not poisoned").drain(..).for_each(|line| line.abort());
    }
}

/// A mirror that runs, until it is dropped.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(indexer: Indexer, every: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(async move { indexer.run(every, stopped).await }) }
    }

    async fn stop(self) {
        self.stop.send(true).expect("it runs");
        self.task.await.expect("it ended");
    }
}

/// Waits until the mirror has the newest block, long before any poll.
async fn is_at_head(mirrored: &Mirrored, ground: &Ground) {
    let head = ground.head().await;
    let arrival = async {
        loop {
            let (state, _) = mirrored.indexer.state().await.expect("a state");
            if state.checkpoint.is_some_and(|at| at.number >= head) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(120), arrival).await.expect("nobody told of the block");
}

#[tokio::test]
async fn a_block_that_is_told_of_is_mirrored_without_a_poll() {
    let ground = Ground::start(32).await;
    let mirrored = ground.mirror(vec![]).await;
    let line = Line::to(ground.chain.url()).await;
    let running = Running::start(mirrored.indexer.clone().with_hints(line.url.clone()), NEVER);
    for count in [1, 2] {
        ground.anchor(1, count).await;
        is_at_head(&mirrored, &ground).await;
    }
    // Whoever was cut off hears of what came meanwhile when it hears again.
    line.cut(Fate::Refused);
    ground.anchor(1, 3).await;
    line.cut(Fate::Passes);
    is_at_head(&mirrored, &ground).await;
    ground.anchor(2, 4).await;
    is_at_head(&mirrored, &ground).await;
    running.stop().await;
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn whoever_dies_lags_or_lies_is_polled_past() {
    let ground = Ground::start(32).await;
    let other = Ground::start(32).await;
    let mirrored = ground.mirror(vec![]).await;
    let line = Line::to(ground.chain.url()).await;
    let often = Duration::from_millis(20);
    let running = Running::start(mirrored.indexer.clone().with_hints(line.url.clone()), often);
    for fate in [Fate::Refused, Fate::Nonsense, Fate::Silence, Fate::Passes] {
        ground.anchor(1, 2).await;
        line.cut(fate);
        ground.anchor(2, 2).await;
        is_at_head(&mirrored, &ground).await;
    }
    running.stop().await;

    // Heads of another chain are no news of this one, and its blocks are not read.
    let line = Line::to(other.chain.url()).await;
    let running = Running::start(mirrored.indexer.clone().with_hints(line.url.clone()), often);
    ground.reorg(2).await;
    other.anchor(3, 1).await;
    ground.anchor(1, 1).await;
    ground.mine(3).await;
    is_at_head(&mirrored, &ground).await;
    running.stop().await;
    is_whole(&mirrored, &ground).await;
}
