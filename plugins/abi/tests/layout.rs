//! The Rust types are the header's: every size, offset and value, compared by a C program that prints them.

use panchroma_abi as abi;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What `layout.c` prints, compiled as `language`.
fn printed(compiler: &str, arguments: &[&str]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("layout");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(compiler);
    command.args(arguments).args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(here);
    run(command.arg("-o").arg(&program).arg(here.join("tests/layout.c")));
    run(&mut Command::new(program)).lines().map(str::to_owned).collect()
}

/// Every struct with its members, for another macro.
macro_rules! structs {
    ($macro:ident) => {
        $macro! {
                Error: size capacity message row;
                Text: data length;
                Tensor: data device_type device_id ndim code bits lanes shape strides byte_offset;
                Axis: size reserved name longest;
                Field: size r#type name unit axis_count axes reserved;
                ArraysInfo: size axis_count axes field_count valid_axis_count fields valid_axes;
                Arrays: size field_count count present valid fields;
                Column: size r#type depth optional path;
                Data: size r#type depth reserved present offsets values value_count;
                Rows: size column_count count ids columns mode reserved seed epoch random;
                Request: size modality_count config name arrays modalities width;
                Component: size kind flags reserved name summary example schema create destroy functions;
                Components: size count items;
                Plugin: abi size name version license publisher component_count reserved components extension;
                ModalityInfo: size column_count axis_count field_count valid_axis_count valid_axes;
                Modality: size reserved describe column axis field plan run fit fitted restore;
                Coordinate: size encoding name unit smallest largest count metadata;
                Tokens: size reserved count present valid values coordinates;
                CodecInfo: size vocabulary max_tokens coordinate_count decodes;
                Codec: size reserved describe coordinate plan encode decode;
                Parameter: size init name value decay axis_count shape;
                Compute: size mode seed step stream;
                TokenizerInfo: size coordinate_count max_tokens width outputs parameter_count reserved;
                Tokenizer: size reserved describe coordinate parameter plan run forward backward;
                HeadInfo: size view column_count parameter_count outputs;
                HeadInput: size input_count inputs present rows;
                Head: size reserved describe column parameter forward backward;
        }
    };
}

macro_rules! layout { ($($name:ident: $($member:ident)*;)*) => {{
    let mut lines = BTreeSet::new();
    $(
        lines.insert(format!("size {} {}", stringify!($name), size_of::<abi::$name>()));
        $(lines.insert(format!(
            "offset {} {} {}",
            stringify!($name),
            stringify!($member).trim_start_matches("r#"),
            std::mem::offset_of!(abi::$name, $member)
        ));)*
    )*
    lines
}}; }

macro_rules! values { ($($name:ident)*) => {
    [$(format!("value {} {}", stringify!($name), abi::$name)),*]
}; }

fn ours() -> BTreeSet<String> {
    let mut lines = structs!(layout);
    lines.extend(values! {
        ABI_MAJOR ABI_MINOR ABI OK INVALID FAILED PANIC NOTHING F32 F64 U8 U32 TEXT CPU CUDA TRAIN EVALUATE MAX_AXES MODALITY CODEC TOKENIZER HEAD DETERMINISTIC RANDOM ON_CUDA FOURIER LOG CATEGORY ZEROS CONSTANT NORMAL UNIFORM JOINT ISOLATED
    });
    for (name, text) in [("ENTRY", abi::ENTRY), ("TOKENIZERS", abi::TOKENIZERS), ("HEADS", abi::HEADS)] {
        lines.insert(format!("text {name} {}", text.to_str().expect("UTF-8")));
    }
    lines
}

fn same(found: &BTreeSet<String>) {
    let ours = ours();
    let (only_c, only_rust): (Vec<_>, Vec<_>) = (found.difference(&ours).collect(), ours.difference(found).collect());
    assert!(only_c.is_empty() && only_rust.is_empty(), "only in C: {only_c:#?}\nonly in Rust: {only_rust:#?}");
}

#[test]
fn types_are_those_of_the_header_in_c() {
    same(&printed("cc", &["-std=c99", "-pedantic"]));
}

#[test]
fn types_are_those_of_the_header_in_cpp() {
    same(&printed("c++", &["-std=c++17", "-x", "c++"]));
}

fn bytes<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Bytes behind the last member of each struct.
macro_rules! room { ($($name:ident: $($member:ident)*;)*) => {
    [$((stringify!($name), {
        let ends = [$(std::mem::offset_of!(abi::$name, $member) + bytes(|s: &abi::$name| &s.$member)),*];
        size_of::<abi::$name>() - ends.into_iter().max().unwrap_or(0)
    })),*]
}; }

#[test]
fn no_struct_has_room_at_its_end() {
    // A member that a later version appended there would be taken for one that an older plugin has.
    let rooms = structs!(room);
    assert!(rooms.iter().all(|(_, room)| *room == 0), "{rooms:?}");
}
