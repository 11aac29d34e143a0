//! One stack for all tests of what must be refused, since none of them may change it.

use std::sync::{Arc, Weak};

use tokio::{process::Command, sync::Mutex};

use crate::support::{Outcome, Snapshot, Stack, records, run};

/// What those tests share while any of them runs.
static SHARED: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());

/// A stack with three anchored entries of the tenant `acme`.
pub(crate) struct Shared {
    pub(crate) stack: Stack,
    pub(crate) before: Snapshot,
}

impl Shared {
    pub(crate) async fn get() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(shared) = shared.upgrade() {
            return shared;
        }
        let stack = Stack::with(&records("acme", 0..3)).await;
        let before = stack.snapshot().await;
        assert_eq!(before.named("acme").entries.len(), 3);
        let fresh = Arc::new(Self { stack, before });
        *shared = Arc::downgrade(&fresh);
        fresh
    }

    /// Runs a command that must fail, saying all of this, and change nothing.
    pub(crate) async fn refuses(&self, command: &mut Command, parts: &[&str]) -> Outcome {
        self.refuses_with(1, command, parts).await
    }

    pub(crate) async fn refuses_with(
        &self,
        code: i32,
        command: &mut Command,
        parts: &[&str],
    ) -> Outcome {
        let outcome = run(command).await.fails_saying(code, parts);
        self.before.is_still(&self.stack.snapshot().await);
        outcome
    }

    /// Appends a file with this content, which must be refused.
    pub(crate) async fn refuses_file(&self, name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
        let path = self.stack.file(name, content);
        self.refuses(self.stack.cofferdam("append").arg(&path), &[&[name], parts].concat()).await;
        // Not even when tenants may be registered on the way.
        self.refuses(self.stack.cofferdam("append --register --json").arg(path), parts).await;
    }
}
