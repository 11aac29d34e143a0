//! Moments to catch a process at: something it asked for is about to be done, or was done and not
//! answered yet.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpStream, sync::oneshot, time::timeout};

/// Which side of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// It was asked for, and is not done.
    Before,
    /// It is done, and whoever asked does not know it yet.
    After,
}

/// What a proxy looks out for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traps(Arc<Mutex<Vec<Trap>>>);

#[derive(Debug)]
struct Trap {
    what: String,
    when: When,
    /// How many are let pass.
    passes: usize,
    caught: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// A trap that was set. Dropped, it lets go whom it holds.
#[derive(Debug)]
pub(crate) struct Caught {
    caught: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Caught {
    /// Waits until somebody is held; false when nobody is for so long.
    pub(crate) async fn within(&mut self, limit: Duration) -> bool {
        matches!(timeout(limit, &mut self.caught).await, Ok(Ok(())))
    }
}

/// Somebody who is held.
#[derive(Debug)]
pub(super) struct Held(oneshot::Receiver<()>);

impl Held {
    /// Waits until the one who asked is let go (true) or is no more (false).
    pub(super) async fn let_go(self, asker: &TcpStream) -> bool {
        let mut byte = [0];
        tokio::select! {
            biased;
            _ = asker.peek(&mut byte) => false,
            _ = self.0 => true,
        }
    }
}

impl Traps {
    /// Holds the next one who asks for something that contains `what`, after so many others.
    pub(crate) fn set(&self, what: &str, when: When, passes: usize) -> Caught {
        let (caught, is_caught) = oneshot::channel();
        let (let_go, release) = oneshot::channel();
        let trap = Trap { what: what.into(), when, passes, caught, release };
        self.0.lock().unwrap().push(trap);
        Caught { caught: is_caught, _release: let_go }
    }

    /// Looks whether this act springs a trap.
    pub(super) fn spring(&self, act: &str, when: When) -> Option<Held> {
        let mut traps = self.0.lock().unwrap();
        // Whoever set it has stopped waiting.
        traps.retain(|trap| !trap.caught.is_closed());
        let at = traps.iter().position(|trap| trap.when == when && act.contains(&trap.what))?;
        if traps[at].passes > 0 {
            traps[at].passes -= 1;
            return None;
        }
        let Trap { caught, release, .. } = traps.remove(at);
        caught.send(()).is_ok().then_some(Held(release))
    }
}
