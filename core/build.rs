//! Compiles the kernels, by feature: `emulation` for the CPU with a C++ compiler (tests), `cuda` for
//! GPUs with nvcc. Without either there is nothing to do, and no compiler but Rust's is needed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "emulation")]
    emulation::build();
    #[cfg(feature = "cuda")]
    cuda::build();
}

#[cfg(any(feature = "emulation", feature = "cuda"))]
fn files(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path.to_string_lossy(), extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Says what to do and stops the build.
#[cfg(any(feature = "emulation", feature = "cuda"))]
#[expect(clippy::print_stderr, reason = "cargo shows what a build script that fails wrote there")]
fn fail(message: &str) -> ! {
    eprintln!("\nerror: {message}\n");
    std::process::exit(1)
}

/// PANCHROMA_SANITIZE=address or thread checks the kernels with a sanitizer (`.ci/kernels` says how to run that).
#[cfg(feature = "emulation")]
mod emulation {
    pub(super) fn build() {
        println!("cargo:rerun-if-changed=src/ops");
        println!("cargo:rerun-if-env-changed=PANCHROMA_SANITIZE");
        println!("cargo:rustc-check-cfg=cfg(sanitized)");
        let mut base = cc::Build::new();
        base.cpp(true).std("c++17").include("src/ops").debug(true).flag_if_supported("-Wno-unknown-pragmas");
        let mut kernels = base.clone();
        kernels.opt_level(2).flag("-x").flag("c++").files(super::files("src/ops", "cu"));
        kernels.file("src/ops/emulation/tests/emulation_test.cpp").define("EMULATION_TEST_NAME", "emulation_test");
        // Kernels are found by name, so nothing refers to them: the linker must not drop them.
        kernels.link_lib_modifier("+whole-archive");
        let mut run_time = base;
        let sources =
            super::files("src/ops/emulation", "cpp").into_iter().filter(|file| !file.ends_with("emulation_test.cpp"));
        run_time.opt_level(3).flag("-fno-strict-aliasing").files(sources);
        sanitize(&mut kernels, &mut run_time);
        for (library, name) in [(&mut kernels, "panchroma_kernels"), (&mut run_time, "panchroma_emulation")] {
            if let Err(error) = library.try_compile(name) {
                missing(&error.to_string());
            }
        }
    }

    fn sanitize(kernels: &mut cc::Build, run_time: &mut cc::Build) {
        let (flags, define, libraries): (&[&str], _, &[&str]) = match std::env::var("PANCHROMA_SANITIZE").as_deref() {
            Err(_) | Ok("") => return,
            Ok("address") => {
                (&["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"], "EMUL_ASAN", &["asan", "ubsan"])
            }
            Ok("thread") => (&["-fsanitize=thread"], "EMUL_TSAN", &["tsan"]),
            Ok(other) => super::fail(&format!("PANCHROMA_SANITIZE is `address` or `thread`, not `{other}`")),
        };
        flags.iter().for_each(|flag| {
            kernels.flag(flag);
        });
        kernels.define("SANITIZED", None);
        // Not with the sanitizer: what fibers share there is not a kernel's business.
        run_time.define(define, None);
        println!("cargo:rustc-cfg=sanitized");
        // rustc links with -nodefaultlibs, so the flag alone would not bring the library in.
        for library in libraries {
            println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-l{library}");
        }
    }

    fn missing(error: &str) -> ! {
        super::fail(&format!(
            "the tests of the GPU kernels need a C++17 compiler: {error}\n\
             hint: install one (Debian and Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`; macOS: \
             `xcode-select --install`) or name it in `CXX`; `cargo build` without tests needs none"
        ))
    }
}

/// One file for GPUs per kernel file, and a list of them for `include!`.
#[cfg(feature = "cuda")]
mod cuda {
    use std::env;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// Code for these GPUs, and for later ones text that the driver compiles.
    const ARCHITECTURES: [&str; 3] =
        ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"];

    pub(super) fn build() {
        println!("cargo:rerun-if-changed=src/ops");
        ["NVCC", "CUDA_HOME"].iter().for_each(|name| println!("cargo:rerun-if-env-changed={name}"));
        let nvcc = compiler();
        println!("cargo:rustc-env=PANCHROMA_CUDA_MAJOR={}", major(&nvcc));
        link_run_time(&nvcc);
        let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
            super::fail("cargo names no folder for what is built");
        };
        let mut list = String::from("[\n");
        for kernel in super::files("src/ops", "cu") {
            let image = out.join(kernel.with_extension("fatbin").file_name().unwrap_or_default());
            compile(&nvcc, &kernel, &image);
            list.push_str(&format!("    include_bytes!({:?}).as_slice(),\n", image));
        }
        list.push_str("]\n");
        if let Err(error) = std::fs::write(out.join("kernel_images.rs"), list) {
            super::fail(&format!("the list of kernels can't be written: {error}"));
        }
    }

    /// As `NVCC` says, else of `CUDA_HOME`, else in `PATH`.
    fn compiler() -> PathBuf {
        let nvcc = match (env::var_os("NVCC"), env::var_os("CUDA_HOME")) {
            (Some(nvcc), _) => PathBuf::from(nvcc),
            (None, Some(home)) => Path::new(&home).join("bin").join("nvcc"),
            (None, None) => PathBuf::from("nvcc"),
        };
        if let Err(error) = Command::new(&nvcc).arg("--version").output() {
            super::fail(&format!(
                "the feature `cuda` needs nvcc, but `{}` can't be started: {error}\n\
                 hint: install the CUDA toolkit (12 or 13), and put its `bin` into `PATH`, its folder into `CUDA_HOME` \
                 or the compiler itself into `NVCC`",
                nvcc.display()
            ));
        }
        nvcc
    }

    /// The toolkit's version before the point: `release 13.0` in what the compiler says of itself.
    fn major(nvcc: &Path) -> String {
        let said = Command::new(nvcc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&said).into_owned();
        let version = text.split("release ").nth(1).unwrap_or_default();
        let major: String = version.chars().take_while(char::is_ascii_digit).collect();
        if major.is_empty() {
            super::fail(&format!("`{} --version` names no release:\n{text}", nvcc.display()));
        }
        major
    }

    /// Of the CUDA run time, which candle's kernels for quantized models refer to, the static library where there is one:
    /// then a program needs nothing of NVIDIA's to start.
    fn link_run_time(nvcc: &Path) {
        let home = env::var_os("CUDA_HOME").map(PathBuf::from);
        let beside = nvcc.parent().and_then(Path::parent).map(Path::to_path_buf);
        let roots = home.into_iter().chain(beside).chain(["/usr/local/cuda".into(), "/opt/cuda".into(), "/usr".into()]);
        let folders = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "lib/x86_64-linux-gnu"];
        let mut places = roots.flat_map(|root| folders.map(|folder| root.join(folder)));
        if let Some(folder) = places.find(|folder| folder.join("libcudart_static.a").is_file()) {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:rustc-link-lib=static:-bundle=cudart_static");
        }
    }

    fn compile(nvcc: &Path, kernel: &Path, image: &Path) {
        let mut command = Command::new(nvcc);
        command.args(["-std=c++17", "-O3", "-fatbin", "-I", "src/ops", "-o"]).arg(image).arg(kernel);
        for architecture in ARCHITECTURES {
            command.args(["-gencode", architecture]);
        }
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => super::fail(&format!(
                "nvcc refuses {}:\n{}{}",
                kernel.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(error) => super::fail(&format!("nvcc can't be started: {error}")),
        }
    }
}
