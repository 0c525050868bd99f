//! Everything that touches the world.
pub mod disk;
pub mod reactor;
pub mod socket;
pub mod verify;
pub mod waiting;
