//! Looks whether the data directory is still where it was.
//!
//! In: writes of the disk, time. Out: a fault when a name leads elsewhere. Never: looks often while
//! nothing is written, as nothing can be lost then.

use std::time::Duration;

use futures_lite::future;

use crate::shell::disk::{Directory, Fault};
use crate::shell::driver::Driver;
use crate::shell::runtime::reactor::Timer;

/// How often the names of the data directory are looked up while claims are written: six calls of
/// the system, which were most of what an idle node did.
const NAMES_INTERVAL: Duration = Duration::from_millis(500);
/// How often without writes: nothing is lost meanwhile, and the operator should still hear of it.
const NAMES_INTERVAL_IDLE: Duration = Duration::from_secs(5);

/// Done when the data directory is not where it was any more.
pub(super) async fn displaced(driver: &Driver, directory: &Directory) -> Fault {
    loop {
        let written = async {
            driver.written().await;
            true
        };
        let idle = async {
            Timer::after(NAMES_INTERVAL_IDLE).await;
            false
        };
        let is_written = future::or(written, idle).await;
        if let Err(fault) = directory.check_names() {
            return fault;
        }
        // Without a write there are no more to hold back: a pause would be one more wake-up.
        if is_written {
            Timer::after(NAMES_INTERVAL).await;
        }
    }
}
