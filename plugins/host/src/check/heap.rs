//! How much memory this process holds on its heap, to find what is never freed.

/// Bytes in use on the heap; none where the system doesn't say.
pub(super) fn in_use() -> Option<usize> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it only reads the allocator's own numbers.
        let info = unsafe { libc::mallinfo2() };
        Some(info.uordblks + info.hblkhd)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// Most bytes that a round may leave behind: less is noise of the allocator and of this process.
const NOISE: usize = 256;

/// Runs `round` many times and looks what it leaves behind.
pub(super) fn leaks(mut round: impl FnMut() -> Result<(), String>) -> Result<String, String> {
    const WARM: usize = 20;
    const ROUNDS: usize = 200;
    for _ in 0..WARM {
        round()?;
    }
    let Some(before) = in_use() else { return Ok("can't be measured on this system".into()) };
    for _ in 0..ROUNDS {
        round()?;
    }
    let left = in_use().unwrap_or(before).saturating_sub(before) / ROUNDS;
    match left {
        0..=NOISE => Ok(format!("{ROUNDS} rounds of making, calling and freeing")),
        left => Err(format!("each round of making, calling and freeing leaves {left} bytes behind")),
    }
}
