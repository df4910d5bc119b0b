//! Hosts that are older, newer or broken, against the C tables.

use super::guard::guard;
use super::plugin::{Parts, Table, understood};
use crate::prelude::*;
use panchroma_abi::{self as abi, Struct as _};
use std::ffi::{CStr, c_char, c_void};

/// Doubles numbers; panics at -1.
struct Doubled;

impl Modality for Doubled {
    const NAME: &'static str = "doubled";
    const SUMMARY: &'static str = "numbers, doubled";
    type Config = NoConfig;

    fn new(_config: NoConfig, request: &Request) -> Result<Self> {
        assert!(request.name() != "panic", "asked for: {}", request.name());
        Ok(Self)
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::number("u").list()]
    }

    fn arrays(&self) -> ArraysSpec {
        ArraysSpec::new().axis("place", 2).f32("u", "", &["place"]).valid(&["place"])
    }

    fn plan(&self, rows: &Rows, lengths: &mut [usize]) -> Result<()> {
        lengths[0] = rows.list_f32("u")?.row(0).len();
        Ok(())
    }

    fn prepare(&self, rows: &Rows, arrays: &mut ArraysMut) -> Result<()> {
        let (u, mut out) = (rows.list_f32("u")?, arrays.f32("u")?);
        for i in 0..rows.len() {
            for (to, from) in out.row_mut(i).iter_mut().zip(u.row(i)) {
                *to = 2.0 * from;
            }
        }
        Ok(())
    }
}

/// A component whose instance the tests hold by hand.
struct Raw {
    component: super::instance::Component,
    instance: *mut c_void,
}

impl Raw {
    fn new() -> Self {
        let component = super::modality::component::<Doubled>().unwrap();
        let mut instance = std::ptr::null_mut();
        let request = abi::Request::new();
        // SAFETY: a request without anything is a request.
        let status =
            unsafe { component.raw.create.unwrap()(&raw const request, &raw mut instance, std::ptr::null_mut()) };
        assert_eq!(status, abi::OK);
        Self { component, instance }
    }

    fn functions(&self) -> &'static abi::Modality {
        // SAFETY: the component is a modality.
        unsafe { &*self.component.raw.functions.cast() }
    }

    /// Runs on two rows, [1, 2] and [3], after `change` has had its way with what the host hands over.
    fn run(&self, change: impl FnOnce(&mut Given)) -> (i32, String, Vec<f32>) {
        let mut given = Given::new();
        change(&mut given);
        let columns = [if given.null_column { std::ptr::null() } else { &raw const given.data }];
        given.rows.columns = if given.null_columns { std::ptr::null() } else { columns.as_ptr() };
        given.data.present = [1_u8, 1].as_ptr();
        let offsets = [given.offsets.as_ptr()];
        given.data.offsets = offsets.as_ptr();
        given.data.values = given.values.as_ptr().cast();
        given.u.data = given.out.as_mut_ptr().cast();
        given.u.shape = given.shape.as_mut_ptr();
        given.valid.data = given.mask.as_mut_ptr().cast();
        given.valid.shape = given.shape.as_mut_ptr();
        let fields = [if given.null_field { std::ptr::null_mut() } else { &raw mut given.u }];
        let mut present = [9_u8; 2];
        let mut arrays = abi::Arrays::new();
        (arrays.count, arrays.field_count, arrays.fields) = (2, 1, fields.as_ptr());
        (arrays.present, arrays.valid) = (present.as_mut_ptr(), &raw mut given.valid);
        let mut message = [0_u8; 256];
        let mut error = abi::Error::new();
        (error.capacity, error.message, error.row) = (256, message.as_mut_ptr().cast(), -1);
        let run = self.functions().run.unwrap();
        // SAFETY: everything lives until the call is over.
        let status = unsafe { run(self.instance, &raw const given.rows, &raw mut arrays, &raw mut error) };
        (status, CStr::from_bytes_until_nul(&message).unwrap().to_str().unwrap().to_owned(), given.out)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: `create` made it.
        unsafe { self.component.raw.destroy.unwrap()(self.instance) };
    }
}

struct Given {
    rows: abi::Rows,
    data: abi::Data,
    offsets: Vec<u64>,
    values: Vec<f32>,
    u: abi::Tensor,
    valid: abi::Tensor,
    shape: Vec<i64>,
    out: Vec<f32>,
    mask: Vec<u8>,
    null_column: bool,
    null_columns: bool,
    null_field: bool,
}

impl Given {
    fn new() -> Self {
        let null = std::ptr::null_mut();
        let tensor = |code, bits| abi::Tensor {
            data: std::ptr::null_mut(),
            device_type: abi::CPU,
            device_id: 0,
            ndim: 2,
            code,
            bits,
            lanes: 1,
            shape: null,
            strides: null,
            byte_offset: 0,
        };
        let (mut rows, mut data) = (abi::Rows::new(), abi::Data::new());
        (rows.count, rows.column_count) = (2, 1);
        (data.r#type, data.depth, data.value_count) = (abi::F32, 1, 3);
        Self {
            rows,
            data,
            offsets: vec![0, 2, 3],
            values: vec![1.0, 2.0, 3.0],
            u: tensor(2, 32),
            valid: tensor(1, 8),
            shape: vec![2, 2],
            out: vec![0.0; 4],
            mask: vec![7; 4],
            null_column: false,
            null_columns: false,
            null_field: false,
        }
    }
}

#[test]
fn a_host_that_keeps_to_the_interface_gets_its_arrays() {
    let (status, message, out) = Raw::new().run(|_| {});
    assert_eq!((status, message.as_str(), out), (abi::OK, "", vec![2.0, 4.0, 6.0, 0.0]));
}

#[test]
fn strides_of_row_major_memory_are_understood() {
    let (status, _, out) = Raw::new().run(|g| g.u.strides = [2, 1].as_ptr().cast_mut());
    assert_eq!((status, out), (abi::OK, vec![2.0, 4.0, 6.0, 0.0]));
}

#[test]
fn an_empty_batch_is_fine() {
    let raw = Raw::new();
    let (mut rows, mut data) = (abi::Rows::new(), abi::Data::new());
    (data.r#type, data.depth) = (abi::F32, 1);
    let offsets = [[0_u64].as_ptr()];
    data.offsets = offsets.as_ptr();
    let columns = [&raw const data];
    (rows.column_count, rows.columns) = (1, columns.as_ptr());
    let mut shape = [0_i64, 2];
    let (mut u, mut valid) = (Given::new().u, Given::new().valid);
    (u.shape, valid.shape) = (shape.as_mut_ptr(), shape.as_mut_ptr());
    let fields = [&raw mut u];
    let mut arrays = abi::Arrays::new();
    (arrays.field_count, arrays.fields, arrays.valid) = (1, fields.as_ptr(), &raw mut valid);
    let run = raw.functions().run.unwrap();
    // SAFETY: everything lives until the call is over.
    let status = unsafe { run(raw.instance, &raw const rows, &raw mut arrays, std::ptr::null_mut()) };
    assert_eq!(status, abi::OK);
}

#[test]
fn batches_and_components_go_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Rows>();
    shared::<Arrays>();
    shared::<Tokens>();
    shared::<Parameters>();
    shared::<Table>();
}

#[test]
fn what_a_broken_host_gives_is_refused() {
    type Change = fn(&mut Given);
    let cases: [(Change, &str); 15] = [
        (|g| g.null_column = true, "gave no column `u`"),
        (|g| g.null_columns = true, "gave columns as 0x0"),
        (|g| g.rows.column_count = 2, "gave 2 columns, not 1"),
        (|g| g.data.r#type = abi::F64, "column `u` as type 2 in 1 levels"),
        (|g| g.data.depth = 0, "column `u` as type 1 in 0 levels"),
        (|g| g.offsets = vec![2, 0, 3], "offsets of column `u` fall"),
        (|g| g.data.value_count = 2, "column `u` has 2 values"),
        (|g| g.null_field = true, "gave no array"),
        (|g| g.u.bits = 64, "field `u` isn't f32"),
        (|g| g.u.code = 1, "field `u` isn't f32"),
        (|g| g.u.device_type = abi::CUDA, "field `u` is on device 2"),
        (|g| g.u.ndim = 1, "field `u` as [2], not [2, 2]"),
        (|g| g.u.strides = [1, 2].as_ptr().cast_mut(), "field `u` has gaps: strides [1, 2]"),
        (|g| g.u.byte_offset = 1, "gave field `u` as 0x"),
        (|g| g.shape = vec![2, 3], "as [2, 3], not [2, 2]"),
    ];
    for (change, expected) in cases {
        let (status, message, _) = Raw::new().run(change);
        assert_eq!(status, abi::FAILED, "{message}");
        assert!(message.contains(expected), "{message:?} has no {expected:?}");
    }
}

#[test]
fn members_behind_the_hosts_size_are_null() {
    // As a host of a version whose rows had no columns yet.
    let (status, message, _) = Raw::new().run(|g| g.rows.size = std::mem::offset_of!(abi::Rows, columns) as u32);
    assert_eq!(status, abi::FAILED);
    assert!(message.contains("gave columns as 0x0"), "{message}");
}

#[test]
fn nothing_is_written_behind_the_hosts_size() {
    let raw = Raw::new();
    let mut info = abi::ModalityInfo::new();
    info.size = std::mem::offset_of!(abi::ModalityInfo, field_count) as u32;
    (info.field_count, info.valid_axis_count) = (77, 78);
    // SAFETY: the struct is at least as large as it says.
    let status = unsafe { raw.functions().describe.unwrap()(raw.instance, &raw mut info) };
    assert_eq!(status, abi::OK);
    assert_eq!((info.column_count, info.axis_count), (1, 1));
    assert_eq!((info.field_count, info.valid_axis_count), (77, 78));
    assert_eq!(info.size as usize, std::mem::offset_of!(abi::ModalityInfo, field_count));
}

#[test]
fn a_newer_hosts_members_stay_as_they_are() {
    #[repr(C)]
    struct Newer {
        info: abi::ModalityInfo,
        added: [u32; 2],
    }
    let raw = Raw::new();
    let mut newer = Newer { info: abi::ModalityInfo::new(), added: [5, 6] };
    newer.info.size = size_of::<Newer>() as u32;
    // SAFETY: the struct is as large as it says.
    let status = unsafe { raw.functions().describe.unwrap()(raw.instance, (&raw mut newer).cast()) };
    assert_eq!((status, newer.added, newer.info.field_count), (abi::OK, [5, 6], 1));
}

#[test]
fn getters_refuse_what_is_not_there() {
    let raw = Raw::new();
    let mut column = abi::Column::new();
    // SAFETY: the instance lives.
    let get = |index| unsafe { raw.functions().column.unwrap()(raw.instance, index, &raw mut column) };
    assert_eq!([0, 1, u32::MAX].map(get), [abi::OK, abi::FAILED, abi::FAILED]);
    // SAFETY: texts live as long as the instance.
    assert_eq!(unsafe { CStr::from_ptr(column.path) }, c"u");
    // SAFETY: null is allowed for.
    let none = unsafe { raw.functions().column.unwrap()(std::ptr::null(), 0, &raw mut column) };
    // SAFETY: as above.
    let nowhere = unsafe { raw.functions().column.unwrap()(raw.instance, 0, std::ptr::null_mut()) };
    assert_eq!((none, nowhere), (abi::FAILED, abi::FAILED));
}

#[test]
fn a_panic_in_create_leaves_no_instance() {
    let component = super::modality::component::<Doubled>().unwrap();
    let mut request = abi::Request::new();
    request.name = c"panic".as_ptr();
    let mut instance = std::ptr::null_mut();
    let mut message = [0_u8; 64];
    let mut error = abi::Error::new();
    (error.capacity, error.message) = (64, message.as_mut_ptr().cast());
    // SAFETY: everything lives until the call is over.
    let status = unsafe { component.raw.create.unwrap()(&raw const request, &raw mut instance, &raw mut error) };
    assert_eq!((status, instance.is_null()), (abi::PANIC, true));
    let message = CStr::from_bytes_until_nul(&message).unwrap().to_str().unwrap();
    assert!(message.starts_with("asked for: panic (at "), "{message}");
}

#[test]
fn names_and_configs_that_are_not_utf8_are_refused() {
    let component = super::modality::component::<Doubled>().unwrap();
    let mut request = abi::Request::new();
    request.config = c"\xff{}".as_ptr();
    let mut instance = std::ptr::null_mut();
    // SAFETY: everything lives until the call is over.
    let status = unsafe { component.raw.create.unwrap()(&raw const request, &raw mut instance, std::ptr::null_mut()) };
    assert_eq!((status, instance.is_null()), (abi::FAILED, true));
}

/// What the host finds in a buffer of `capacity`, and in the byte behind it.
fn told(message: &str, capacity: usize) -> (Vec<u8>, u8) {
    let mut buffer = vec![b'#'; capacity + 1];
    let mut error = abi::Error::new();
    (error.capacity, error.message, error.row) = (capacity as u32, buffer.as_mut_ptr().cast(), -1);
    // SAFETY: the buffer lives until the call is over.
    let status = unsafe { guard(&raw mut error, || Err(Error::row(3, message))) };
    assert_eq!((status, error.row), (abi::INVALID, 3));
    let behind = buffer.pop().unwrap();
    (buffer, behind)
}

#[test]
fn long_errors_are_cut_between_characters() {
    assert_eq!(told("short", 8), (b"short\0##".to_vec(), b'#'));
    assert_eq!(told("exactly", 8), (b"exactly\0".to_vec(), b'#'));
    assert_eq!(told("too long", 8), (b"too lon\0".to_vec(), b'#'));
    // The é would be bytes 6 and 7, and byte 7 is for the zero.
    assert_eq!(told("abcdefé", 8), (b"abcdef\0#".to_vec(), b'#'));
    assert_eq!(told("x", 1), (b"\0".to_vec(), b'#'));
    assert_eq!(told("x", 0), (Vec::new(), b'#'));
    assert_eq!(told("a\0b", 8), (b"a\xef\xbf\xbdb\0##".to_vec(), b'#'));
}

#[test]
fn an_error_of_an_older_host_gets_no_row() {
    let mut error = abi::Error::new();
    (error.size, error.row) = (std::mem::offset_of!(abi::Error, row) as u32, -9);
    // SAFETY: the struct is at least as large as it says.
    let status = unsafe { guard(&raw mut error, || Err(Error::row(3, "x"))) };
    assert_eq!((status, error.row), (abi::INVALID, -9));
}

#[test]
fn a_thrown_value_that_panics_as_it_goes_is_caught() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    // SAFETY: null is allowed for.
    let status = unsafe { guard(std::ptr::null_mut(), || std::panic::panic_any(Grenade)) };
    assert_eq!(status, abi::PANIC);
}

#[test]
fn a_plan_that_is_out_of_range_is_refused() {
    let raw = Raw::new();
    let mut message = [0_u8; 128];
    let mut error = abi::Error::new();
    (error.capacity, error.message) = (128, message.as_mut_ptr().cast());
    let mut data = abi::Data::new();
    (data.r#type, data.depth, data.present) = (abi::F32, 1, [1_u8].as_ptr());
    let offsets = [[0_u64, 0].as_ptr()];
    data.offsets = offsets.as_ptr();
    let columns = [&raw const data];
    let mut rows = abi::Rows::new();
    (rows.count, rows.column_count, rows.columns) = (1, 1, columns.as_ptr());
    let mut lengths = [2_u64];
    let plan = raw.functions().plan.unwrap();
    // SAFETY: everything lives until the call is over.
    let status = unsafe { plan(raw.instance, &raw const rows, lengths.as_mut_ptr(), &raw mut error) };
    assert_eq!((status, lengths), (abi::FAILED, [2]));
    let message = CStr::from_bytes_until_nul(&message).unwrap();
    assert_eq!(message, c"`plan` made axis `place` 0 long; it goes from 1 to 2");
}

#[test]
fn hosts_of_another_major_version_are_refused() {
    assert!(understood(abi::ABI));
    assert!(understood(abi::ABI + 1));
    assert!(!understood((abi::ABI_MAJOR + 1) << 16));
    assert!(!understood(0));
}

unsafe extern "C" fn nothing(_: *const c_char) -> *const c_void {
    std::ptr::null()
}

#[test]
fn names_that_hosts_would_refuse_make_no_table() {
    let failed = |parts: Parts| Table::new(parts, nothing).err().unwrap().to_string();
    assert!(failed(Parts::new("a b", "1", "MIT", "")).contains("letters, digits, hyphens"));
    assert!(failed(Parts::new("a", "1\0", "MIT", "")).contains("zero byte"));
}

#[test]
fn extensions_without_components_are_not_there() {
    let table = Table::new(Parts::new("a", "1", "MIT", "").modality::<Doubled>(), nothing).unwrap();
    // SAFETY: null, or texts with a zero byte.
    let [heads, other, null] =
        [abi::HEADS.as_ptr(), c"other".as_ptr(), std::ptr::null()].map(|id| unsafe { table.extension(id) });
    assert!(heads.is_null() && other.is_null() && null.is_null());
}
