//! Resume, determinism, interruption, full disks, damaged checkpoints.
