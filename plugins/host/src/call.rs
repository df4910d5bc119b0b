//! One call of a plugin's function: the buffer for its message, and what its status means.

use panchroma_abi as abi;
use panchroma_abi::Struct;
use panchroma_core::{Error, PluginCall, PluginError};
use serde::{Deserialize, Serialize};
use std::ffi::c_char;

/// Bytes for a message.
const CAPACITY: usize = 1024;

/// Bytes behind it that must stay as they are.
const MARGIN: usize = 1024;

/// What went wrong in a call, before anybody knows which objects the rows are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The function.
    pub(crate) function: Function,
    /// What happened.
    pub(crate) reason: String,
    /// Number of the row that is to blame.
    pub(crate) row: Option<usize>,
    /// Whether the process in which the plugin ran is gone.
    pub(crate) crash: bool,
}

impl Fault {
    /// Whether one row may be to blame, and nobody knows which: not while an instance was made, which is no row's doing.
    pub(crate) fn may_be_a_row(&self) -> bool {
        let with_rows = [Function::Plan, Function::Fit, Function::Run, Function::Encode];
        self.row.is_none() && with_rows.contains(&self.function)
    }
}

/// Functions of the interface, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Function {
    Create,
    Describe,
    Plan,
    Fit,
    Fitted,
    Restore,
    Run,
    Encode,
    Decode,
    Forward,
    Backward,
}

impl Function {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Describe => "describe",
            Self::Plan => "plan",
            Self::Fit => "fit",
            Self::Fitted => "fitted",
            Self::Restore => "restore",
            Self::Run => "run",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }

    /// A fault of the whole call.
    pub(crate) fn fault(self, reason: impl Into<String>) -> Fault {
        Fault { function: self, reason: reason.into(), row: None, crash: false }
    }

    /// A fault of one row.
    pub(crate) fn fault_of(self, row: usize, reason: impl Into<String>) -> Fault {
        Fault { row: Some(row), ..self.fault(reason) }
    }

    /// Makes a call; `Ok(false)` if it gave [`abi::NOTHING`], which only `forward` may.
    ///
    /// # Errors
    /// Any other status but OK, with what the plugin said.
    pub(crate) fn call(self, call: impl FnOnce(*mut abi::Error) -> abi::Status) -> Result<bool, Fault> {
        // More room than is said: a text that is too long ends in there, and not in what lies behind it.
        let mut message = [0u8; CAPACITY + MARGIN];
        let mut error = abi::Error::new();
        error.capacity = CAPACITY as u32;
        error.message = message.as_mut_ptr().cast::<c_char>();
        error.row = -1;
        let before = error.message;
        let status = crate::exit::watched(self.word(), || call(&raw mut error));
        if error.message != before {
            return Err(self
                .fault("it replaced the pointer `message` of its error; the text is to be copied to where it leads"));
        }
        let (message, margin) = message.split_at(CAPACITY);
        if margin.iter().any(|byte| *byte != 0) {
            return Err(self.fault(format!("it wrote a message longer than the {CAPACITY} bytes that there are")));
        }
        let said = said(message);
        let what = match status {
            abi::OK => return Ok(true),
            abi::NOTHING if self == Self::Forward => return Ok(false),
            abi::INVALID => String::new(),
            abi::FAILED => "failed: ".into(),
            abi::PANIC => "caught a panic or an exception: ".into(),
            other => format!("gave the unknown status {other}: "),
        };
        Err(Fault { row: usize::try_from(error.row).ok(), ..self.fault(format!("{what}{said}")) })
    }
}

/// The message, whatever the plugin made of the buffer.
fn said(message: &[u8]) -> String {
    let (text, note) = match message.iter().position(|byte| *byte == 0) {
        Some(0) => return "it gave no message".into(),
        Some(end) => (&message[..end], ""),
        None => (message, " (the message has no end)"),
    };
    match std::str::from_utf8(text) {
        Ok(text) => format!("{text}{note}"),
        Err(_) => format!("{} (the message is not UTF-8){note}", String::from_utf8_lossy(text)),
    }
}

/// The one of `count` rows that makes a call fail, by halving; none if no single one does, or if others do as well: then it is the call.
pub(crate) fn culprit(count: usize, fails: impl Fn(&[usize]) -> bool) -> Option<usize> {
    let mut rows: Vec<usize> = (0..count).collect();
    while rows.len() > 1 {
        let other = rows.split_off(rows.len() / 2);
        if !fails(&rows) {
            if !fails(&other) {
                return None;
            }
            rows = other;
        }
    }
    let found = rows.first().copied()?;
    // A few others, far from it: one that works is enough.
    let others = [1, 2, 3].map(|quarter| (found + quarter * count / 4) % count.max(1));
    let mut others = others.into_iter().filter(|other| *other != found).peekable();
    (others.peek().is_none() || others.any(|other| !fails(&[other]))).then_some(found)
}

/// Whose call it was.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) plugin: String,
    pub(crate) kind: &'static str,
    pub(crate) component: String,
}

impl Caller {
    /// The framework's error; `ids` are the objects of the call's rows.
    pub(crate) fn error(&self, fault: Fault, ids: &[String]) -> Error {
        let call = PluginCall {
            plugin: self.plugin.clone(),
            kind: self.kind,
            component: self.component.clone(),
            function: fault.function.word(),
        };
        let object = fault.row.and_then(|row| ids.get(row)).cloned();
        let Fault { reason, row, crash, .. } = fault;
        PluginError::Call { call, object, row, reason, crash }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &[u8], row: i64, status: abi::Status) -> Result<bool, Fault> {
        Function::Run.call(|error| {
            // SAFETY: the buffer has its capacity, and the texts of these tests are not longer.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), (*error).message.cast::<u8>(), text.len());
                (*error).row = row;
            }
            status
        })
    }

    #[test]
    fn every_message_can_be_read() {
        assert_eq!(call(b"", 0, abi::OK), Ok(true));
        assert_eq!(call(b"", 0, abi::NOTHING).unwrap_err().reason, "gave the unknown status 4: it gave no message");
        assert_eq!(Function::Forward.call(|_| abi::NOTHING), Ok(false));
        let fault = call(b"no flux", 3, abi::INVALID).unwrap_err();
        assert_eq!((fault.reason.as_str(), fault.row), ("no flux", Some(3)));
        assert_eq!(call(b"", -1, abi::FAILED).unwrap_err().reason, "failed: it gave no message");
        assert_eq!(call(b"", -1, 77).unwrap_err().reason, "gave the unknown status 77: it gave no message");
        assert_eq!(
            call(b"\xff", -1, abi::PANIC).unwrap_err().reason,
            "caught a panic or an exception: \u{fffd} (the message is not UTF-8)"
        );
        let long = call(&[b'x'; CAPACITY + 3], -1, abi::FAILED).unwrap_err().reason;
        assert_eq!(long, "it wrote a message longer than the 1024 bytes that there are");
        let replaced = Function::Run.call(|error| {
            // SAFETY: the struct is there.
            unsafe { (*error).message = c"mine".as_ptr().cast_mut() };
            abi::FAILED
        });
        assert!(replaced.unwrap_err().reason.starts_with("it replaced the pointer `message`"));
        let endless = call(&[b'x'; CAPACITY], -1, abi::FAILED).unwrap_err().reason;
        assert!(endless.ends_with("(the message has no end)"), "{endless}");
        assert_eq!(call(b"x", i64::MIN, abi::FAILED).unwrap_err().row, None);
    }

    #[test]
    fn the_row_that_crashes_is_found() {
        for count in 1..9 {
            for bad in 0..count {
                assert_eq!(culprit(count, |rows| rows.contains(&bad)), Some(bad));
            }
        }
        // Two that do it together, none, and all.
        assert_eq!(culprit(8, |rows| rows.contains(&1) && rows.contains(&6)), None);
        assert_eq!(culprit(0, |_| true), None);
        assert_eq!(culprit(8, |_| true), None);
        // Several: one of them.
        assert_eq!(culprit(16, |rows| rows.contains(&3) || rows.contains(&4)), Some(3));
    }

    #[test]
    fn errors_name_plugin_component_function_and_object() {
        let caller = Caller { plugin: "radio".into(), kind: "modality", component: "uv".into() };
        let ids = ["a".to_owned(), "b".to_owned()];
        let error = caller.error(Function::Run.fault_of(1, "no flux"), &ids);
        assert_eq!(error.to_string(), "plugin `radio`, modality `uv`, run, object `b`: no flux");
        let error = caller.error(Function::Plan.fault_of(7, "no flux"), &ids);
        assert_eq!(error.to_string(), "plugin `radio`, modality `uv`, plan: no flux");
    }
}
