//! This node's calls to other nodes: connections, pings, pushes, sessions of anti-entropy.
//!
//! In: commands of the cluster and of sessions. Out: calls, and their ends. Never: judges a member.

pub mod addresses;
pub mod answer;
pub mod anti_entropy;
pub mod client;
pub mod cluster_id;
pub mod key_holders;
pub mod membership;
pub mod peer;
pub mod pool;
