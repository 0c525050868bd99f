//! Everything that touches the world.
pub mod disk;
pub mod keygen;
pub mod driver;
pub mod reactor;
pub mod signals;
pub mod socket;
pub mod verify;
pub mod waiting;
