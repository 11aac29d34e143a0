//! The time at which entries are recorded.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use cofferdam_core::Timestamp;

use crate::{Result, StoreError};

/// Tells the time. Nothing but what an entry says of itself depends on it: order is the chain's, and ages
/// are the database's to tell.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    pub(crate) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time as a field holds it.
    pub(crate) fn now(&self) -> Result<Timestamp> {
        let out_of_range = || StoreError::OutOfRange { what: "the system clock" };
        let since = self.0().duration_since(UNIX_EPOCH).map_err(|_| out_of_range())?;
        let micros = i64::try_from(since.as_micros()).map_err(|_| out_of_range())?;
        Timestamp::from_unix_micros(micros).map_err(|_| out_of_range())
    }
}

impl Default for Clock {
    /// This machine's.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.0()).finish()
    }
}
