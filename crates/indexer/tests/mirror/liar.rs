//! An RPC endpoint that stands before an honest one and does not pass everything on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use alloy::transports::http::reqwest::Client;
use cofferdam_contracts::RpcUrl;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What an endpoint answers: a status, and a body, or nothing that can be read.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Json(Value),
    Status(u16, &'static str),
    /// Nothing, for as long as anybody waits.
    Silence,
}

/// Makes an answer of a question and the honest answer.
pub(crate) type Lie = dyn Fn(&Value, Value) -> Said + Send + Sync;

/// A lying endpoint; it lies until this process ends.
#[derive(Clone)]
pub(crate) struct Liar {
    pub(crate) url: RpcUrl,
    /// How often it did not say what was so.
    told: Arc<AtomicU64>,
    lie: Arc<Mutex<Arc<Lie>>>,
    honest: Arc<Mutex<url::Url>>,
}

impl Liar {
    pub(crate) async fn start(
        honest: &RpcUrl,
        lie: impl Fn(&Value, Value) -> Said + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let url = format!("http://{at}").parse().expect("a URL");
        let lie: Arc<Mutex<Arc<Lie>>> = Arc::new(Mutex::new(Arc::new(lie)));
        let counted = Arc::new(AtomicU64::new(0));
        let told = (lie.clone(), counted.clone());
        let honest = Arc::new(Mutex::new(honest.expose().clone()));
        let before = honest.clone();
        tokio::spawn(async move {
            let client = Client::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (client, honest, told) = (client.clone(), honest.clone(), told.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, client, honest, told).await;
                });
            }
        });
        Self { url, told: counted, lie, honest: before }
    }

    /// Passes on what another node answers from now on.
    pub(crate) fn stand_before(&self, honest: &RpcUrl) {
        *self.honest.lock().expect("not poisoned") = honest.expose().clone();
    }

    /// How many of its answers were lies.
    pub(crate) fn lies(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Tells another lie from now on.
    pub(crate) fn tell(&self, lie: impl Fn(&Value, Value) -> Said + Send + Sync + 'static) {
        *self.lie.lock().expect("not poisoned") = Arc::new(lie);
    }

    pub(crate) fn repent(&self) {
        self.tell(|_, answer| Said::Json(answer));
    }
}

async fn serve(
    mut stream: TcpStream,
    client: Client,
    honest: Arc<Mutex<url::Url>>,
    (told, counted): (Arc<Mutex<Arc<Lie>>>, Arc<AtomicU64>),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut read = vec![];
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.unwrap_or("0").trim().parse()?;
        while read.len() < end + length {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let question: Value = serde_json::from_slice(&read[end..end + length])?;
        read.drain(..end + length);
        let body = question.to_string();
        let honest = honest.lock().expect("not poisoned").clone();
        let answer = client.post(honest).header("content-type", "application/json").body(body);
        let answer: Value = serde_json::from_slice(&answer.send().await?.bytes().await?)?;
        let truth = answer.clone();
        let lie = told.lock().expect("not poisoned").clone();
        let said = match (question, answer) {
            // Of several questions each is lied about, unless the answer is to none of them.
            (Value::Array(questions), Value::Array(answers)) => {
                let mut said = vec![];
                let mut refused = None;
                for (question, answer) in questions.iter().zip(answers) {
                    let id = answer["id"].clone();
                    match lie(question, answer) {
                        Said::Json(mut answer) => {
                            answer["id"] = id;
                            said.push(answer);
                        }
                        status => refused = Some(status),
                    }
                }
                refused.unwrap_or(Said::Json(Value::Array(said)))
            }
            (question, answer) => lie(&question, answer),
        };
        let honest = matches!(&said, Said::Json(answer) if *answer == truth);
        counted.fetch_add(u64::from(!honest), Ordering::Relaxed);
        let (status, body) = match said {
            Said::Json(answer) => (200, answer.to_string()),
            Said::Status(status, body) => (status, body.to_owned()),
            Said::Silence => {
                // Until whoever waits has left.
                let _ = stream.read_buf(&mut read).await;
                return Ok(());
            }
        };
        let head = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

/// Whether this asks for logs of a range, and not of one tenant.
pub(crate) fn asks_for_logs(question: &Value) -> bool {
    question["method"] == "eth_getLogs"
}

/// How many blocks a question for logs is about.
pub(crate) fn blocks(question: &Value) -> u64 {
    let number = |name: &str| {
        let text = question["params"][0][name].as_str().unwrap_or("0x0");
        u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default()
    };
    number("toBlock") + 1 - number("fromBlock")
}

/// An answer whose logs were changed.
pub(crate) fn with_logs(mut answer: Value, change: impl Fn(&mut Vec<Value>)) -> Said {
    if let Some(logs) = answer["result"].as_array_mut() {
        change(logs);
    }
    Said::Json(answer)
}

/// A refusal.
pub(crate) fn refusal(code: i64, message: &str) -> Said {
    Said::Json(json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": message } }))
}
