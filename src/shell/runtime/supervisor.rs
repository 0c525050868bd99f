//! What systemd hears of the node, by the protocol of sd_notify(3): that it starts, is ready,
//! reloads, stops, and is alive.
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; what the node does. Out: a datagram for
//! each. Without a socket all of this does nothing.
//!
//! Never: waits longer than [`SEND_MAX`] for a supervisor that does not read, ends the node.

use std::cell::Cell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use futures_lite::future;
use rustix::time::{ClockId, clock_gettime};

use crate::base::limits;
use crate::shell::runtime::log_limit;
use crate::shell::runtime::reactor::Timer;

/// The state thread waits so long at most for space in the queue of a supervisor that hangs.
const SEND_MAX: Duration = Duration::from_millis(250);
/// How often a start that reads a long log asks for more time.
const EXTEND_INTERVAL: Duration = Duration::from_secs(10);
/// The time that it asks for: three intervals, so that a busy machine may be late with one.
const EXTEND_BY: Duration = Duration::from_secs(30);
/// Time for the last flush, and for writing the index, after the last request.
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// The service manager that started the node, if it wants to hear of it.
#[derive(Default)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The node is killed if it is silent for longer than this.
    silence_max: Option<Duration>,
    /// A reload while the node drains must not say that it serves again.
    is_stopping: Cell<bool>,
}

impl Supervisor {
    /// The one that the environment names.
    pub(crate) fn of_environment() -> Supervisor {
        let named = Supervisor::named(|variable| env::var_os(variable));
        named.unwrap_or_else(|error| {
            complain(&error);
            Supervisor::default()
        })
    }

    fn named(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Supervisor> {
        let Some(name) = variable("NOTIFY_SOCKET") else { return Ok(Supervisor::default()) };
        let address = address(&name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // A child of the supervised process inherits the variables (sd_watchdog_enabled(3)).
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let silence = number("WATCHDOG_USEC").filter(|&micros| is_ours && micros > 0);
        let silence_max = silence.map(Duration::from_micros);
        let is_stopping = Cell::new(false);
        Ok(Supervisor { socket: Some((socket, address)), silence_max, is_stopping })
    }

    /// Asks for time while the log is read, for as long as it is polled: a start has 90 seconds
    /// otherwise.
    pub(crate) async fn keep_starting(&self) {
        while self.socket.is_some() {
            let micros = EXTEND_BY.as_micros();
            self.send(&format!("STATUS=reading the log\nEXTEND_TIMEOUT_USEC={micros}"));
            Timer::after(EXTEND_INTERVAL).await;
        }
        future::pending().await
    }

    /// The log is read, and the listeners serve.
    pub(crate) fn note_ready(&self) {
        if !self.is_stopping.get() {
            self.send("READY=1\nSTATUS=serving");
        }
    }

    /// Files of settings are read again, until [`Supervisor::note_ready`].
    pub(crate) fn note_reloading(&self) {
        if self.socket.is_some() && !self.is_stopping.get() {
            // `Type=notify-reload` knows by the time which reload is over.
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
            let micros = now.as_micros();
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
        }
    }

    /// The node was asked to stop, and serves on for `delay`.
    pub(crate) fn note_stopping(&self, delay: Duration) {
        self.is_stopping.set(true);
        let until = delay + limits::GOAWAY_GRACE + limits::DRAIN_MAX + FLUSH_MAX;
        let micros = until.as_micros();
        self.send(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    /// Says again and again that the executor that polls this runs: one that does not is restarted.
    pub(crate) async fn keep_alive(&self) {
        while let Some(silence) = self.silence_max {
            self.send("WATCHDOG=1");
            // Half of it, as sd_watchdog_enabled(3) advises.
            Timer::after(silence / 2).await;
        }
    }

    fn send(&self, states: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(states.as_bytes(), address) {
            complain(&error);
        }
    }
}

fn complain(error: &io::Error) {
    let line = format_args!("NOTIFY_SOCKET: {error}: the supervisor does not hear of this node");
    log_limit::warn((module_path!(), "", "unheard notifications"), line);
}

/// A path, or with `@` before it a name of Linux's abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "takes a path, or @ and a name")),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use async_executor::LocalExecutor;

    use super::*;
    use crate::shell::runtime::reactor;

    /// A socket by a name that no other test has, and the supervisor that the variables name.
    fn pair(name: &str, variables: &[(&str, &str)]) -> (UnixDatagram, Supervisor) {
        let socket = UnixDatagram::bind_addr(&address(OsStr::new(name)).expect("a name"));
        let socket = socket.expect("a free name");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let supervisor = Supervisor::named(|variable| {
            let known = [("NOTIFY_SOCKET", name)];
            let mut all = known.iter().chain(variables);
            all.find(|(known, _)| *known == variable).map(|(_, value)| value.into())
        });
        (socket, supervisor.expect("a socket"))
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn each_state_is_a_datagram() {
        let (socket, supervisor) = pair(&format!("@stemedb-states-{}", process::id()), &[]);
        supervisor.note_ready();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving");
        supervisor.note_reloading();
        let text = heard(&socket);
        let micros = text.split_once("MONOTONIC_USEC=").expect("a time").1.lines().next();
        assert!(text.starts_with("RELOADING=1\n"), "{text}");
        assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{text}");
        supervisor.note_stopping(Duration::from_secs(100));
        let text = heard(&socket);
        let micros = text.split_once("EXTEND_TIMEOUT_USEC=").expect("a time").1.parse::<u64>();
        let is_longer = micros.is_ok_and(|micros| micros > 100_000_000);
        assert!(text.starts_with("STOPPING=1\n") && is_longer, "{text}");
        assert_eq!(supervisor.silence_max, None);
        supervisor.note_reloading();
        supervisor.note_ready();
        socket.set_nonblocking(true).expect("a flag");
        assert!(socket.recv(&mut [0; 16]).is_err(), "it drains, whatever it reads again");
        drop(socket);
        supervisor.note_ready();
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_and_is_of_this_process() {
        let own = process::id().to_string();
        let name = format!("@stemedb-watchdog-{own}");
        let variables = [("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", &*own)];
        let (socket, supervisor) = pair(&name, &variables);
        assert_eq!(supervisor.silence_max, Some(Duration::from_millis(20)));
        let supervisor = Rc::new(supervisor);
        let executor = LocalExecutor::new();
        let fed = supervisor.clone();
        let _feeding = executor.spawn(async move { fed.keep_alive().await });
        let reactor = reactor::current().expect("a reactor");
        reactor.block_on(&executor, Timer::after(Duration::from_millis(50)));
        for _ in 0..3 {
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
        let others = [("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
        assert_eq!(pair(&format!("{name}-other"), &others).1.silence_max, None);
    }

    #[test]
    fn a_name_that_is_none_is_refused_and_without_one_nothing_happens() {
        for name in ["", "relative", "vsock:2:1"] {
            assert!(address(OsStr::new(name)).is_err(), "{name}");
        }
        assert!(address(OsStr::new("/run/systemd/notify")).is_ok());
        let none = Supervisor::named(|_| None).expect("nothing to refuse");
        none.note_ready();
        future::block_on(none.keep_alive());
    }
}
