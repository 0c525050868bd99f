//! Everything that touches the world.
pub mod anti_entropy;
pub mod check;
pub mod disk;
pub mod driver;
pub mod import;
pub mod keygen;
pub mod logger;
pub mod memory;
pub mod peers;
pub mod reactor;
pub mod signals;
pub mod socket;
pub mod tasks;
pub mod verify;
pub mod waiting;
