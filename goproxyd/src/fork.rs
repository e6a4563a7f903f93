//! `goproxyd sumdb fork`: what a stopped server knows of two tree heads that contradict each other, and the end of its alarm.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context;
use common::clock::SystemClock;
use dataplane::store::{Store, StoreOptions};
use dataplane::sumdb::{Fork, StoredAlarm, SumSpec};

use crate::roles::ServeError;
use crate::settings::Settings;

/// Reads the alarm in the data directory of `settings`, ends it if `clear`, and says how things stand. Blocks.
pub(crate) fn run(settings: &Settings, clear: bool) -> Result<String, ServeError> {
    let SumSpec::Database(database) = &settings.sumdb else {
        return Ok("the checksum database is off\n".to_owned());
    };
    // Opening would make an empty store of whatever directory was named by mistake.
    if !settings.data_dir.is_dir() {
        let missing = anyhow::anyhow!("there is no directory {}", settings.data_dir.display());
        return Err(ServeError::Settings(missing));
    }
    let store = Store::open(&settings.data_dir, StoreOptions::default(), Arc::new(SystemClock));
    let store = store.map(Arc::new).map_err(|error| {
        let refused = error.is_locked_or_damaged();
        if refused { ServeError::DataDir(error.into()) } else { ServeError::Failed(error.into()) }
    })?;
    let alarm = StoredAlarm::open(database, Arc::clone(&store) as _)
        .context("take up the checksum database")
        .map_err(ServeError::Failed)?;
    let fork = alarm.fork().context("read the alarm").map_err(ServeError::Failed)?;
    let name = database.key.name();
    let Some(fork) = fork else { return Ok(format!("no fork of {name} is known\n")) };
    let mut text = describe(name, &fork);
    if clear {
        alarm.clear().context("clear the alarm").map_err(ServeError::Failed)?;
        store.flush().context("write the store out").map_err(ServeError::Failed)?;
        text.push_str("\nthe alarm is cleared; the server goes on from its own tree head\n");
    } else {
        text.push_str("\nthe alarm is raised: the server verifies nothing new; --help says what to do\n");
    }
    Ok(text)
}

fn describe(name: &str, fork: &Fork) -> String {
    let mut text = format!("{name} has signed two tree heads that contradict each other\n");
    for (whose, note) in [("the server's own", &fork.ours), ("the other", &fork.theirs)] {
        // A string takes whatever is written to it.
        let _ = write!(text, "\n{whose}:\n{}", String::from_utf8_lossy(note));
    }
    text
}
