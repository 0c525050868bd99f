//! Names to addresses, as the C library finds them: resolv.conf, search list, questions, answers.
//!
//! In: the text of the resolver's files, packets of name servers, time. Out: datagrams and streams
//! to be sent, and the addresses. The messages are those of RFC 1035, section 4.
//!
//! Never: opens a file or a socket, trusts a length, an offset or a name of an answer.

mod lookup;
mod message;
mod settings;
#[cfg(test)]
mod tests;

pub use lookup::{Lookup, NotFound, Output};
pub use settings::{NameServer, ResolverSettings, hosts_line, loopback};
