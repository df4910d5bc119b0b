//! The emulation's own rules, which are tested in C++, and how their violations arrive in Rust.

#[cfg(not(sanitized))]
use super::{Emulation, SCHEDULES};
#[cfg(not(sanitized))]
use crate::ops::gpu::{Arguments, Geometry, Gpu, Pointer};
use std::ffi::{c_char, c_int};

unsafe extern "C" {
    fn emulation_test(count: c_int, arguments: *const *const c_char) -> c_int;
}

#[test]
fn the_device_language_keeps_its_rules() {
    // SAFETY: the arguments are only counted.
    let failures = unsafe { emulation_test(if cfg!(sanitized) { 1 } else { 2 }, std::ptr::null()) };
    assert_eq!(failures, 0, "see the output for the lines");
}

#[cfg(not(sanitized))] // an address sanitizer ends the program at the first bad access
#[test]
fn a_launch_that_breaks_a_rule_is_an_error_with_a_place() -> candle_core::Result<()> {
    for schedule in SCHEDULES {
        let gpu = Emulation { schedule };
        let memory = gpu.allocate("partial", 16)?;
        let sums = |count: usize, list: Arguments| gpu.launch("column_sums_f32", Geometry::per_item(count, 256), list);
        let arguments = |out: Pointer| Arguments::new().pointers(&[memory.pointer(), out]).counts(&[1, 5, 4]);
        let text = |result: candle_core::Result<()>| result.err().map(|e| e.to_string()).unwrap_or_default();
        let error = text(sums(5, arguments(memory.pointer())));
        assert!(error.contains("thread (4,0,0): 0 bytes past the end of partial (16 bytes)"), "{error}");
        let error = text(gpu.launch("column_sums_f32", Geometry::new(1, 4), arguments(Pointer::NULL)));
        assert!(error.contains("an address outside every allocation"), "{error}");
        let error = text(sums(5, Arguments::new().pointer(memory.pointer())));
        assert!(error.contains("the kernel takes 32 bytes of arguments, not 8"), "{error}");
        let error = text(gpu.launch("no_such_kernel", Geometry::new(1, 32), Arguments::new()));
        assert!(error.contains("no kernel has this name"), "{error}");
        let error = text(gpu.launch("column_sums_f32", Geometry::new(1, 257), arguments(memory.pointer())));
        assert!(error.contains("launch bounds"), "{error}");
        let error = text(gpu.launch("column_sums_f32", Geometry::new(0, 256), arguments(memory.pointer())));
        assert!(error.contains("invalid launch configuration"), "{error}");
    }
    Ok(())
}
