//! A local Anvil chain.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use url::Url;

use crate::{
    DevnetError, Toolchain,
    leash::{Leash, LeashOptions},
    postgres::tail,
};

/// How long Anvil may take to listen; loading a large state takes it seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the chain is run.
#[derive(Debug, Clone)]
pub struct AnvilOptions {
    /// Where the log and, with `keep`, the chain's state are kept.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; any free one when `None`.
    pub port: Option<u16>,
    /// Keep the chain's state in the data directory and start from what is there.
    pub keep: bool,
    /// Further arguments of `anvil`, such as `--block-time 2`.
    pub args: Vec<String>,
}

/// A running local chain, stopped when dropped.
#[derive(Debug)]
pub struct Anvil {
    leash: Leash,
    rpc_url: Url,
}

impl Anvil {
    /// The chain id that every devnet has; nothing that is only for development works elsewhere.
    pub const CHAIN_ID: u64 = 31_337;

    /// Starts Anvil and waits until it listens.
    pub async fn start(toolchain: &Toolchain, options: &AnvilOptions) -> Result<Self, DevnetError> {
        let data = &options.data_dir;
        fs::create_dir_all(data).map_err(DevnetError::io("cannot create", data))?;
        let data = &data.canonicalize().map_err(DevnetError::io("cannot open", data))?;
        let log = data.join("anvil.log");
        if let Some(port) = options.port
            && TcpListener::bind(("127.0.0.1", port)).is_err()
        {
            return Err(DevnetError::PortInUse { what: "Anvil", port, flag: "--anvil-port" });
        }
        // Anvil says in its log where it listens: an older run's line must not be taken for this one's.
        fs::write(&log, "").map_err(DevnetError::io("cannot write", &log))?;

        let mut args: Vec<String> = ["--host", "127.0.0.1"].map(String::from).into();
        // A test may want another chain; Anvil takes the option once only.
        if !options.args.iter().any(|arg| arg == "--chain-id") {
            args.extend(["--chain-id".into(), Self::CHAIN_ID.to_string()]);
        }
        args.extend(["--port".into(), options.port.unwrap_or(0).to_string()]);
        if options.keep {
            let state = data.join("anvil-state.json").display().to_string();
            args.extend(["--state".into(), state]);
            // The state survives a crash up to the last of these seconds.
            args.extend(["--state-interval".into(), "5".into()]);
        }
        // Old states that it swaps out: it would leave them in the user's home when it is killed.
        let states = data.join("anvil-states");
        args.extend(["--cache-path".into(), states.display().to_string()]);
        args.extend(options.args.iter().cloned());
        let leash = LeashOptions { signal: "INT", scratch: Some(&states), user: None, log: &log };
        let anvil = toolchain.foundry("anvil")?;
        let mut leash =
            Leash::start(&anvil, &args, &leash).map_err(DevnetError::io("cannot run", &anvil))?;

        let start = Instant::now();
        let rpc_url = loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let address = text.lines().find_map(|line| line.strip_prefix("Listening on "));
            if let Some(url) = address.and_then(|at| Url::parse(&format!("http://{at}")).ok()) {
                break url;
            }
            if leash.has_ended() {
                return Err(DevnetError::Died { what: "Anvil", tail: tail(&log), log });
            }
            if start.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(DevnetError::NotReady { what: "Anvil", seconds, log });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ok(Self { leash, rpc_url })
    }

    /// Where the chain answers.
    pub fn rpc_url(&self) -> &Url {
        &self.rpc_url
    }

    /// Whether Anvil has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.leash.has_ended()
    }

    /// Stops Anvil, which writes its state first, and waits for it.
    pub async fn stop(self) {
        self.leash.stop().await;
    }
}
