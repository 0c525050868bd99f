//! The accept loop of every listener.
//!
//! In: a listener, and what serves a connection. Out: its tasks. Never: ends because an accept
//! failed.

use async_executor::Task;

use super::log_limit;
use super::reactor::Timer;
use super::socket::{TcpListener, TcpStream};
use crate::base::limits;

/// Accepts connections for ever: `register` gives each its slot, `spawn` begins its task. `name` is
/// the listener's, for the log; `tasks` holds those that have not ended.
pub async fn accept_all<R>(
    listener: &TcpListener,
    name: &str,
    tasks: &mut Vec<Task<()>>,
    register: impl AsyncFn(TcpStream) -> R,
    spawn: impl Fn(R) -> Task<()>,
) {
    let mut has_failed = false;
    loop {
        tasks.retain(|task| !task.is_finished());
        match listener.accept().await {
            Ok(stream) => {
                has_failed = false;
                tasks.push(spawn(register(stream).await));
            }
            Err(error) => {
                // Without descriptors each accept fails: one line for the first of them, and no
                // loop that takes the processor from the connections that would free some.
                if !has_failed {
                    let line = format_args!("{name}: cannot accept a connection: {error}");
                    log_limit::warn((module_path!(), name, "failed accepts"), line);
                }
                has_failed = true;
                Timer::after(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}
