//! Group commit: concurrent appends of one tenant share transactions.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use cofferdam_core::TenantId;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    NewEntry, Result, StoreError,
    append::{Answer, Group, Prepared, append},
    pool::Handle,
};

/// A transaction takes no more entries than this …
pub(crate) const MAX_GROUP: usize = 1000;
/// … and no more bytes, beyond its first entry.
pub(crate) const MAX_GROUP_BYTES: usize = 4 << 20;
/// Calls that may wait for one tenant; further ones wait to be let in.
const QUEUE: usize = 256;
/// Entries with no more bytes than this are hashed by whoever appends them.
const INLINE_BYTES: usize = 16 << 10;
/// A tenant's task ends after this long without work.
const IDLE: Duration = Duration::from_secs(10);

/// The append door: durable when it answers, ordered, idempotent by `external_id`.
///
/// One task a tenant drains what is queued into one transaction, so many callers share one commit and
/// never contend for the head. A call that is dropped while it waits may still be appended.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handle: Handle,
    queues: Mutex<HashMap<TenantId, mpsc::Sender<Call>>>,
}

/// It is queued before its entries are hashed, so that calls keep their order and the hashing of one goes
/// on while another is written.
#[derive(Debug)]
struct Call {
    group: Hashing,
    answer: oneshot::Sender<Result<Vec<Answer>>>,
}

/// The hashing of a call's entries.
#[derive(Debug)]
enum Hashing {
    Done(Group),
    Aside(JoinHandle<Group>),
}

impl Hashing {
    /// Begins it; few bytes are not worth another thread.
    fn begin(entries: Vec<NewEntry>) -> Self {
        if entries.iter().map(NewEntry::size).sum::<usize>() <= INLINE_BYTES {
            return Self::Done(Group::prepare(entries));
        }
        Self::Aside(tokio::task::spawn_blocking(move || Group::prepare(entries)))
    }
}

impl Appender {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { shared: Arc::new(Shared { handle, queues: Mutex::default() }) }
    }

    /// Appends `entries` to the tenant's chain, in this order, and answers for each. On an outer error
    /// some may have been appended: append again, repeats are recognised.
    pub async fn append(&self, tenant: TenantId, entries: Vec<NewEntry>) -> Result<Vec<Answer>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let mut call = Call { group: Hashing::begin(entries), answer };
        // A queue whose task has just ended gives the call back.
        while let Err(mpsc::error::SendError(back)) = self.queue(tenant).send(call).await {
            call = back;
        }
        answered.await.map_err(|_| StoreError::Interrupted { tenant })?
    }

    fn queue(&self, tenant: TenantId) -> mpsc::Sender<Call> {
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&tenant).filter(|queue| !queue.is_closed()) {
            return queue.clone();
        }
        let (queue, calls) = mpsc::channel(QUEUE);
        let worker = Worker {
            handle: self.shared.handle.clone(),
            shared: Arc::downgrade(&self.shared),
            tenant,
            calls,
        };
        tokio::spawn(worker.run());
        queues.insert(tenant, queue.clone());
        queue
    }
}

/// One tenant's task.
struct Worker {
    handle: Handle,
    /// Not kept alive from here: with the last [`Appender`] the queues go and the tasks end.
    shared: Weak<Shared>,
    tenant: TenantId,
    calls: mpsc::Receiver<Call>,
}

/// A call whose entries may be spread over several transactions.
struct Open {
    entries: VecDeque<(NewEntry, Prepared)>,
    answers: Vec<Answer>,
    answer: oneshot::Sender<Result<Vec<Answer>>>,
}

impl Worker {
    async fn run(mut self) {
        let mut open = VecDeque::new();
        loop {
            if open.is_empty() {
                match tokio::time::timeout(IDLE, self.calls.recv()).await {
                    Ok(Some(call)) => open.extend(self.open(call).await),
                    Ok(None) => return self.forget(),
                    Err(_) => {
                        // From here on senders get their call back; what is queued is still served.
                        self.calls.close();
                        continue;
                    }
                }
            }
            self.drain(&mut open).await;
            if open.is_empty() {
                continue;
            }
            let (group, parts) = take_group(&mut open);
            let result = append(&self.handle, self.tenant, Arc::new(group)).await;
            settle(&mut open, parts, result);
        }
    }

    /// Takes what is queued, without waiting for more, up to a transaction's worth.
    async fn drain(&mut self, open: &mut VecDeque<Open>) {
        let mut waiting: usize = open.iter().map(|call| call.entries.len()).sum();
        while waiting < MAX_GROUP {
            let Ok(call) = self.calls.try_recv() else { return };
            let Some(call) = self.open(call).await else { continue };
            waiting += call.entries.len();
            open.push_back(call);
        }
    }

    /// A call whose entries are hashed; none if that broke off.
    async fn open(&self, Call { group, answer }: Call) -> Option<Open> {
        let group = match group {
            Hashing::Done(group) => Ok(group),
            Hashing::Aside(hashing) => hashing.await,
        };
        let Ok(group) = group else {
            let _ = answer.send(Err(StoreError::Interrupted { tenant: self.tenant }));
            return None;
        };
        let entries: VecDeque<_> = group.into_iter().collect();
        let answers = Vec::with_capacity(entries.len());
        Some(Open { entries, answers, answer })
    }

    fn forget(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let mut queues = shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
            if queues.get(&self.tenant).is_some_and(mpsc::Sender::is_closed) {
                queues.remove(&self.tenant);
            }
        }
    }
}

/// The entries of the next transaction, and how many of them each open call gave.
fn take_group(open: &mut VecDeque<Open>) -> (Group, Vec<usize>) {
    let (mut group, mut parts, mut bytes) = (Vec::new(), Vec::new(), 0);
    'calls: for call in open.iter_mut() {
        parts.push(0);
        while let Some((entry, _)) = call.entries.front() {
            bytes += entry.size();
            if group.len() == MAX_GROUP || (bytes > MAX_GROUP_BYTES && !group.is_empty()) {
                break 'calls;
            }
            group.extend(call.entries.pop_front());
            *parts.last_mut().expect("pushed above") += 1;
        }
    }
    (group.into_iter().collect(), parts)
}

/// Hands the answers to the calls that gave the entries; answers the calls that are complete.
fn settle(open: &mut VecDeque<Open>, parts: Vec<usize>, result: Result<Vec<Answer>>) {
    match result {
        Ok(answers) => {
            let mut answers = answers.into_iter();
            for (call, part) in open.iter_mut().zip(parts) {
                call.answers.extend(answers.by_ref().take(part));
            }
            while open.front().is_some_and(|call| call.entries.is_empty()) {
                let Some(call) = open.pop_front() else { return };
                // A caller that is gone does not want to know.
                let _ = call.answer.send(Ok(call.answers));
            }
        }
        // The rest of a call must not be appended after a part of it failed: its order would break.
        Err(error) => {
            for _ in parts.iter().filter(|part| **part > 0) {
                let Some(call) = open.pop_front() else { return };
                let _ = call.answer.send(Err(error.clone()));
            }
        }
    }
}
