// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C header in C++: a module may be written in it.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use portway_vport::Registry;

/// A port type that swallows everything, as somebody would write it in C++.
const MODULE: &str = r#"
#include <portway_vport.h>

static int32_t create(const portway_port_params *, void **port, portway_port_info *info)
{
    static int one;
    *port = &one;
    *info = portway_port_info();
    info->flags = PORTWAY_INFO_NO_MTU;
    return 0;
}

static void destroy(void *) {}

static int32_t get_info(void *, portway_port_info *info)
{
    *info = portway_port_info();
    return 0;
}

static int32_t tx(void *, uint32_t, portway_pool *pool, portway_packet **packets, uint32_t n, portway_tx_report *report)
{
    report->sent = n;
    for (uint32_t i = 0; i < n; i++)
        report->sent_bytes += packets[i]->len;
    pool->free(pool, packets, n);
    return 0;
}

static portway_port_module table()
{
    portway_port_module module = portway_port_module();
    module.magic = PORTWAY_MAGIC;
    module.abi_version = PORTWAY_ABI_VERSION;
    module.size = sizeof module;
    module.port_type = 77;
    module.name = "swallow";
    module.create = create;
    module.destroy = destroy;
    module.get_info = get_info;
    module.tx = tx;
    return module;
}

PORTWAY_MODULE(77) = table();
"#;

#[test]
fn a_module_in_cpp_compiles_without_a_warning_and_loads() {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    for standard in ["-std=c++11", "-std=c++20"] {
        let folder = tempfile::tempdir().unwrap();
        let mut compiler = Command::new("c++")
            .args([
                standard,
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
                "-shared",
                "-fPIC",
                "-x",
                "c++",
                "-",
            ])
            .args(["-fvisibility=hidden", "-o"])
            .arg(folder.path().join("vport-type-77.so"))
            .arg("-I")
            .arg(&include)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a C++ compiler (Debian: g++)");
        compiler.stdin.take().unwrap().write_all(MODULE.as_bytes()).unwrap();
        let output = compiler.wait_with_output().unwrap();
        assert!(output.status.success(), "{standard}: {}", String::from_utf8_lossy(&output.stderr));
        let registry = Registry::new();
        registry.set_module_path(vec![folder.path().to_owned()]);
        registry.load(77).unwrap_or_else(|error| panic!("{standard}: {error}"));
        assert_eq!(registry.find_name("swallow"), Some(77));
    }
}
