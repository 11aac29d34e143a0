//! A node that can be made to fail: an HTTP server in front of one Anvil or two.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use alloy::transports::http::reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;

use super::trap::{Traps, When};

/// What becomes of a request instead of the node's answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This HTTP status.
    Status(u16),
    /// The node does it, and its answer is lost.
    LoseAnswer,
    /// The other node answers.
    Other,
    /// This is the answer.
    Answer(Value),
    /// The node's answer, where it has one, after this was done to it.
    Edited(fn(&mut Value)),
    /// The node refuses, with this code and word.
    Refusal(i64, &'static str),
    /// The node knows neither `safe` nor `finalized`.
    Tagless,
    /// There is none, for as long as anybody waits for it.
    Silence,
    /// The node answers as it would have so many blocks ago.
    Behind(u64),
    /// The node has forgotten the state of blocks that are more than so many behind the newest.
    Pruned(u64),
}

/// Decides, by method, what becomes of each request.
type Play = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

/// The endpoint.
#[derive(Debug)]
pub(crate) struct Rpc {
    url: Url,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Vec<Url>,
    client: Client,
    play: Mutex<Play>,
    faults: AtomicUsize,
    traps: Traps,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// What goes back over the wire.
enum Reply {
    Body(Value),
    Status(u16),
    /// The connection is closed without a word.
    Nothing,
}

impl Rpc {
    /// Answers for the first of these nodes, on a free port, while the test's runtime lives.
    pub(crate) async fn start(nodes: Vec<Url>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::new(Shared {
            nodes,
            client: Client::builder().no_proxy().build().unwrap(),
            play: Mutex::new(Box::new(|_| None)),
            faults: AtomicUsize::new(0),
            traps: Traps::default(),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                // How a connection ends is its client's business.
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { url, shared }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// From now on does to each request what `play` says of its method.
    pub(crate) fn play(&self, play: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.shared.faults.store(0, Ordering::SeqCst);
        *self.shared.play.lock().unwrap() = Box::new(play);
    }

    /// Fails no more, and tells how many requests it failed.
    pub(crate) fn heal(&self) -> usize {
        *self.shared.play.lock().unwrap() = Box::new(|_| None);
        self.faults()
    }

    /// How many requests have failed so far.
    pub(crate) fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::SeqCst)
    }

    /// Moments to catch a request at, by its method.
    pub(crate) fn traps(&self) -> &Traps {
        &self.shared.traps
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(body) = request(&mut stream).await? {
            let asked: Value = serde_json::from_slice(&body)?;
            let reply = match asked {
                Value::Array(calls) => {
                    let mut answers = vec![];
                    let mut broken = None;
                    for call in calls {
                        match self.reply(call, stream.get_ref()).await {
                            Reply::Body(answer) => answers.push(answer),
                            reply => broken = Some(reply),
                        }
                    }
                    broken.unwrap_or(Reply::Body(answers.into()))
                }
                call => self.reply(call, stream.get_ref()).await,
            };
            let (status, body) = match reply {
                Reply::Body(body) => (200, body.to_string()),
                Reply::Status(status) => (status, String::new()),
                Reply::Nothing => return Ok(()),
            };
            let head = format!(
                "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await?;
        }
        Ok(())
    }

    async fn reply(&self, call: Value, asker: &TcpStream) -> Reply {
        let method = call["method"].as_str().unwrap_or_default().to_owned();
        if let Some(held) = self.traps.spring(&method, When::Before)
            && !held.let_go(asker).await
        {
            return Reply::Nothing;
        }
        let fault = (*self.play.lock().unwrap())(&method);
        self.faults.fetch_add(fault.is_some().into(), Ordering::SeqCst);
        let reply = match fault {
            None => self.forward(0, &call).await,
            Some(Fault::Other) => self.forward(1, &call).await,
            Some(Fault::Behind(blocks)) => self.behind(blocks, &method, call).await,
            Some(Fault::Pruned(blocks)) => self.pruned(blocks, &method, call).await,
            Some(Fault::Status(status)) => Reply::Status(status),
            Some(Fault::Answer(result)) => answer(&call, result),
            Some(Fault::Edited(edit)) => match self.forward(0, &call).await {
                Reply::Body(mut body) if body["result"].is_object() => {
                    edit(&mut body["result"]);
                    Reply::Body(body)
                }
                reply => reply,
            },
            Some(Fault::Refusal(code, why)) => refusal(&call, code, why),
            Some(Fault::Tagless) => match call["params"][0].as_str() {
                Some("safe" | "finalized") => refusal(&call, -32602, "unknown block tag"),
                _ => self.forward(0, &call).await,
            },
            Some(Fault::Silence) => {
                let _ = asker.peek(&mut [0]).await;
                Reply::Nothing
            }
            Some(Fault::LoseAnswer) => {
                self.forward(0, &call).await;
                Reply::Nothing
            }
        };
        if let Some(held) = self.traps.spring(&method, When::After)
            && !held.let_go(asker).await
        {
            return Reply::Nothing;
        }
        reply
    }

    async fn forward(&self, node: usize, call: &Value) -> Reply {
        let request = self.client.post(self.nodes[node].clone()).body(call.to_string());
        let sent = request.header("content-type", "application/json").send().await;
        let Ok(response) = sent else { return Reply::Nothing };
        let Ok(text) = response.text().await else { return Reply::Nothing };
        serde_json::from_str(&text).map_or(Reply::Nothing, Reply::Body)
    }

    /// What the node finds when asked itself.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": params });
        match self.forward(0, &call).await {
            Reply::Body(mut body) => body["result"].take(),
            _ => Value::Null,
        }
    }

    /// Answers where the state is one that a node keeps for long enough.
    async fn pruned(&self, blocks: u64, method: &str, call: Value) -> Reply {
        let at = block_parameter(method).filter(|_| method != "eth_getBlockByNumber");
        let asked = at.map_or(Value::Null, |at| call["params"][at].clone());
        let asked = match &asked["blockHash"] {
            Value::Null => number(&asked),
            hash => number(&self.ask("eth_getBlockByHash", json!([hash, false])).await["number"]),
        };
        let newest = self.ask("eth_blockNumber", json!([])).await;
        let oldest = number(&newest).unwrap_or_default().saturating_sub(blocks);
        match asked.is_some_and(|number| number < oldest) {
            true => refusal(&call, -32000, "missing trie node"),
            false => self.forward(0, &call).await,
        }
    }

    /// Answers as if the newest blocks were not there yet.
    async fn behind(&self, blocks: u64, method: &str, mut call: Value) -> Reply {
        let newest = self.ask("eth_blockNumber", json!([])).await;
        let head = number(&newest).unwrap_or_default().saturating_sub(blocks);
        let params = &mut call["params"];
        match method {
            "eth_blockNumber" => return answer(&call, hex(head)),
            "eth_getLogs" => {
                let filter = &mut params[0];
                if number(&filter["fromBlock"]).is_some_and(|from| from > head) {
                    return answer(&call, json!([]));
                }
                // Others leave out what they do not have, and say nothing: that is for the mirror's tests.
                if number(&filter["toBlock"]).is_some_and(|to| to > head) {
                    return refusal(&call, -32602, "block range extends beyond head");
                }
                return self.forward(0, &call).await;
            }
            "eth_getTransactionReceipt" | "eth_getTransactionByHash" | "eth_getBlockByHash" => {
                let found = self.ask(method, params.clone()).await;
                let block = number(&found["blockNumber"]).or(number(&found["number"]));
                let seen = block.is_none_or(|block| block <= head);
                return answer(&call, if seen { found } else { Value::Null });
            }
            _ => {}
        }
        let Some(at) = block_parameter(method) else { return self.forward(0, &call).await };
        let Value::Array(params) = params else { return self.forward(0, &call).await };
        while params.len() <= at {
            params.push("latest".into());
        }
        let asked = match params[at].as_str() {
            Some(tag @ ("safe" | "finalized")) => {
                let block = self.ask("eth_getBlockByNumber", json!([tag, false])).await;
                number(&block["number"]).map(|number| number.min(head))
            }
            Some("latest" | "pending") => Some(head),
            _ => number(&params[at]),
        };
        match asked {
            Some(number) if number > head => answer(&call, Value::Null),
            Some(number) => {
                params[at] = hex(number);
                self.forward(0, &call).await
            }
            None => self.forward(0, &call).await,
        }
    }
}

/// Which parameter of a method names a block.
fn block_parameter(method: &str) -> Option<usize> {
    match method {
        "eth_getBlockByNumber" => Some(0),
        "eth_getStorageAt" | "eth_getProof" => Some(2),
        "eth_feeHistory"
        | "eth_call"
        | "eth_estimateGas"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount" => Some(1),
        _ => None,
    }
}

fn refusal(call: &Value, code: i64, message: &str) -> Reply {
    let error = json!({ "code": code, "message": message });
    Reply::Body(json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }))
}

fn answer(call: &Value, result: Value) -> Reply {
    Reply::Body(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }))
}

fn hex(number: u64) -> Value {
    format!("{number:#x}").into()
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Reads one request's body; `None` once the client has left.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}
