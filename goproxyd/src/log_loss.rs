//! `goproxyd recover --accept-log-loss`: a store whose log is damaged in its middle is opened without what comes after the damage.

use std::io;
use std::sync::Arc;

use anyhow::Context;
use common::clock::SystemClock;
use dataplane::store::{OpenError, Store, StoreOptions};

use crate::roles::ServeError;
use crate::settings::Settings;

/// Where a data node keeps which slots it has everything of.
const SYNCED_FILE: &str = "synced";

/// Opens the store in the data directory of `settings` and closes it again, if `yes`; else says what would be lost. Blocks.
pub(crate) fn run(settings: &Settings, yes: bool) -> Result<String, ServeError> {
    let dir = &settings.data_dir;
    let damage = match Store::examine_log(dir) {
        Ok(()) => {
            let dir = dir.display();
            return Ok(format!("the log of the store in {dir} is not damaged: start the server as before\n"));
        }
        Err(OpenError::Damaged { path, detail, .. }) => format!("{}: {detail}", path.display()),
        Err(error) => return Err(refused(error)),
    };
    if !yes {
        return Ok(format!(
            "{damage}\n\nNothing was changed. If there is a backup, restore it. Say --yes to go on without what was written from there on.\n"
        ));
    }
    // First: it must not tell the cluster that it has what it is about to lose.
    match std::fs::remove_file(dir.join(SYNCED_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ServeError::Failed(
                anyhow::Error::new(error).context("forget which slots are in sync"),
            ));
        }
        _ => {}
    }
    let options = StoreOptions { accept_log_loss: true, ..StoreOptions::default() };
    let store = Store::open(dir, options, Arc::new(SystemClock)).map_err(refused)?;
    // From here on there is no damaged log to be met again.
    store.flush().context("write the store out").map_err(ServeError::Failed)?;
    let usage = store.usage().context("measure the store").map_err(ServeError::Failed)?;
    Ok(format!(
        "{damage}\n\nWhat was written from there on is lost; the store holds {} versions and {} zips. Start the server as before.\n",
        usage.records, usage.zips
    ))
}

fn refused(error: OpenError) -> ServeError {
    if error.is_locked_or_damaged() {
        ServeError::DataDir(error.into())
    } else {
        ServeError::Failed(error.into())
    }
}
