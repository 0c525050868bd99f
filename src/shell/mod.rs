//! Everything that touches the world.
pub mod check;
pub mod disk;
pub mod driver;
pub mod keygen;
pub mod reactor;
pub mod signals;
pub mod socket;
pub mod verify;
pub mod waiting;
