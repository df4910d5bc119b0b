//! What the process does with memory and with candle's threads.

/// Asks the allocator to keep freed buffers for the next step instead of giving them back.
///
/// candle allocates every result afresh. By default glibc hands large buffers back to the system
/// at once, which then has to clear the pages again: 0.27 of 0.77 seconds of a training step.
/// Call it once, at the start. Does nothing with other allocators.
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `mallopt` takes two integers by value and may be called at any time; it reports
        // a value that it won't take by its result, and the setting then stays as it was.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
    }
}

/// Lets candle's threads sleep soon after each of its operations.
///
/// By default they spin for 25,000 rounds, on the cores that our own operations then want: 6 % of a step of the quick start
/// on two cores, a third of a layer norm. Call it first in `main`; beside other threads, where the environment may not be
/// changed, and where `CANDLE_BARRIER_POOL_SPIN_LIMIT` is set already, it does nothing. Only on Linux.
pub fn limit_spinning() {
    const LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && std::env::var_os(LIMIT).is_none() {
        // SAFETY: this is the only thread, so no other reads or changes the environment.
        unsafe { std::env::set_var(LIMIT, "1000") };
    }
}

/// The most memory that the process ever had resident, bytes, if the system tells.
#[must_use]
pub fn peak_memory_bytes() -> Option<u64> {
    #[cfg(unix)]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to writable memory of the right size, for the length of the call.
        let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        if result != 0 {
            return None;
        }
        // SAFETY: all fields are integers, for which zeros (and what the call wrote) are valid.
        let peak = unsafe { usage.assume_init() }.ru_maxrss;
        // Linux and the BSDs count in KiB, macOS in bytes.
        let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
        u64::try_from(peak).ok().map(|peak| peak * unit)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stays_as_it_is_beside_other_threads() {
        // Tests run on threads of their own.
        let limit = || std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT");
        let before = limit();
        limit_spinning();
        assert_eq!(limit(), before);
    }

    #[cfg(unix)]
    #[test]
    fn the_peak_grows_with_what_is_touched() {
        keep_large_buffers();
        let before = peak_memory_bytes().unwrap();
        // Other tests may have had more at once: a gibibyte tells both cases apart from nonsense.
        let buffer = vec![1_u8; 32 << 20];
        assert!(buffer.iter().all(|&byte| byte == 1));
        let after = peak_memory_bytes().unwrap();
        assert!(after >= before && after > 32 << 20 && after < 1 << 40, "{before} {after}");
    }
}
